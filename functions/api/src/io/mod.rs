//! Where the API touches the world on its own account; the rest of it is `shared`'s.

pub mod bookkeeping;
