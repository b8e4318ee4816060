//! The files of `shared` that read what others write, by themselves: they know no AWS, and so the fuzz targets need not
//! compile its SDK with their compiler flags, which takes most of ten minutes.

#[path = "../shared/src/address.rs"]
pub mod address;
#[path = "../shared/src/alert_event.rs"]
pub mod alert_event;
#[path = "../shared/src/customer_headers.rs"]
pub mod customer_headers;
#[path = "../shared/src/endpoint_url.rs"]
pub mod endpoint_url;
#[path = "../shared/src/excerpt.rs"]
pub mod excerpt;
#[path = "../shared/src/filter.rs"]
pub mod filter;
#[path = "../shared/src/ids.rs"]
pub mod ids;
#[path = "../shared/src/payload.rs"]
pub mod payload;
#[path = "../shared/src/retry_after.rs"]
pub mod retry_after;
#[path = "../shared/src/retry_message.rs"]
pub mod retry_message;
#[path = "../shared/src/schedule.rs"]
pub mod schedule;
