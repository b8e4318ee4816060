//! The baselines: the same job in Python and in Node.js, written the usual way. See the folder `baselines/`.

use std::collections::BTreeMap;

use crate::testbed::Testbed;
use crate::worker::Program;
use anyhow::{Result, bail};

/// The baselines, as `tools/install_bench.sh` installs them.
///
/// # Errors
/// When they are not installed.
pub fn baselines(testbed: &Testbed) -> Result<[Program; 2]> {
    let root = testbed.project.root();
    let tools = root.join(".tools/bench");
    let python = Program {
        name: "Python",
        executable: tools.join("bin/python"),
        arguments: ["-m", "awslambdaric", "handler.handler"].map(str::to_owned).to_vec(),
        folder: root.join("tools/bench/baselines/python"),
        environment: BTreeMap::new(),
    };
    let node = Program {
        name: "Node.js",
        executable: tools.join("bin/node"),
        arguments: vec!["runtime.mjs".to_owned()],
        folder: tools.join("node/function"),
        environment: BTreeMap::new(),
    };
    for program in [&python, &node] {
        if !program.executable.exists() || !program.folder.exists() {
            bail!("{} does not exist: run `make bench`, which installs it", program.executable.display());
        }
    }
    Ok([python, node].map(|program| {
        let url = testbed.aws.url();
        let folder = program.folder.display().to_string();
        let environment = [
            ("_HANDLER", "handler.handler".to_owned()),
            ("LAMBDA_TASK_ROOT", folder),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("INTEGRATIONS_TABLE", "IntegrationsTable".to_owned()),
            ("DELIVERIES_TABLE", "DeliveriesTable".to_owned()),
            // The Node SDK sends to the queue URL's host, whatever the endpoint is set to.
            ("RETRY_QUEUE_URL", format!("{url}/000000000000/RetryQueue")),
            ("AWS_ENDPOINT_URL", url),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Program { environment, ..program }
    }))
}
