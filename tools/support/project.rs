//! Where the project's files are.

use std::path::{Path, PathBuf};

/// The project's folder, with what `make build` put into it.
#[derive(Clone, Debug)]
pub struct Project {
    root: PathBuf,
}

impl Project {
    /// The project that this crate belongs to, with the tools installed and the functions built.
    ///
    /// # Errors
    /// When `make build` has to be run first.
    pub fn built() -> anyhow::Result<Self> {
        let project = Self::source();
        for path in [project.cloud_python(), project.sam(), project.built_template()] {
            let name = path.strip_prefix(&project.root).unwrap_or(&path).display();
            anyhow::ensure!(path.exists(), "{name} does not exist: run `make build` first.");
        }
        Ok(project)
    }

    /// The project's sources, built or not.
    pub fn source() -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: here.ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The template as it is written.
    pub fn template(&self) -> PathBuf {
        self.root.join("template.yaml")
    }

    /// The template as `sam build` made it, which names the built functions.
    pub fn built_template(&self) -> PathBuf {
        self.root.join(".aws-sam/build/template.yaml")
    }

    /// The executable that `sam build` made of a function, such as `DeliverFunction`.
    pub fn bootstrap(&self, function: &str) -> PathBuf {
        self.root.join(".aws-sam/build").join(function).join("bootstrap")
    }

    /// The Python that the local cloud and the receiver's libraries are installed for.
    pub fn cloud_python(&self) -> PathBuf {
        self.root.join(".tools/cloud/bin/python")
    }

    /// The SAM CLI.
    pub fn sam(&self) -> PathBuf {
        self.root.join(".tools/sam/bin/sam")
    }

    /// The file of variables for `sam local invoke` that `make local` writes.
    pub fn local_variables(&self) -> PathBuf {
        self.root.join(".aws-sam/local-variables.json")
    }

    /// A folder for logs and temporary files. Not under version control.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("target/local-cloud")
    }

    /// A file of `events/`.
    pub fn event(&self, name: &str) -> PathBuf {
        self.root.join("events").join(name)
    }

    /// A sample alert event, such as `triggered`, as a producer sends it: without the final newline of a text file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn sample_alert(&self, name: &str) -> std::io::Result<String> {
        let text = std::fs::read_to_string(self.event(&format!("alert-{name}.json")))?;
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }
}

/// This machine's processor architecture, as the template names it.
pub fn architecture() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "arm64" } else { "x86_64" }
}
