//! What README says about deploying agrees with the template and the pinned tools.

use support::project::Project;
use support::readme::text;
use support::template::Template;

/// How many concurrent invocations a new account may be limited to.
const SMALL_ACCOUNT: u64 = 10;

const CONCURRENCIES: [&str; 3] = ["DeliverConcurrency", "RetryConcurrency", "SlowLaneConcurrency"];

/// Everything between a start and the next end, such as the names in `$(output NAME)`.
fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).map(move |rest| rest.split(end).next().unwrap_or_default())
}

#[test]
fn commands_name_what_exists() {
    let (readme, template) = (text(), Template::read());
    let outputs: Vec<_> = between(&readme, "$(output ", ')').collect();
    assert!(outputs.len() > 5, "{outputs:?}");
    for output in outputs {
        let of_queue = output.trim_matches('"').replace("${queue}", "Alerts");
        assert!(template.section("Outputs").contains_key(&of_queue), "output {output}");
    }
    let resources: Vec<_> = between(&readme, "$(id ", ')').collect();
    assert_eq!(resources.len(), 3, "{resources:?}");
    for resource in resources {
        let properties = template.properties(resource);
        let protection = [&properties["DeletionProtectionEnabled"], &properties["DeletionProtection"]];
        assert!(protection.iter().any(|protection| protection["Fn::If"][0] == "DataProtected"), "{resource}");
    }
    for parameter in between(&readme, "--parameter-overrides ", '=') {
        assert!(template.section("Parameters").contains_key(parameter), "parameter {parameter}");
    }
}

#[test]
fn concurrency_fits_the_account() {
    let template = Template::read();
    let readme = text().split_whitespace().collect::<Vec<_>>().join(" ");
    let at_most: u64 = CONCURRENCIES.iter().map(|parameter| template.number(parameter)).sum();
    assert!(readme.contains(&format!("{at_most} are used at most")), "{at_most}");
    let chosen = CONCURRENCIES.map(|parameter| {
        let given = format!("{parameter}=");
        let value = readme.split(&given).nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        let value = value.and_then(|value| value.parse::<u64>().ok());
        let value = value.unwrap_or_else(|| panic!("README gives no {parameter} for a small account"));
        assert!(Some(value) >= template.section("Parameters")[parameter]["MinValue"].as_u64(), "{parameter}");
        value
    });
    let together: u64 = chosen.iter().sum();
    assert!(readme.contains(&format!("That is {together} of the {SMALL_ACCOUNT}")), "{together}");
    assert!(together + 2 <= SMALL_ACCOUNT, "the API and the sweep need one each: {chosen:?}");
}

#[test]
fn the_pinned_sam_is_new_enough() {
    let pinned = std::fs::read_to_string(Project::source().root().join("tools/sam.in")).expect("the tools are pinned");
    let minor = |version: &str| version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    let readme = text();
    let least = between(&readme, "(https://docs.aws.amazon.com/serverless-application-model/) ", ' ').next();
    let pinned = between(&pinned, "aws-sam-cli==", '\n').next();
    // Older versions compiled all dependencies again for each function.
    assert_eq!(least, Some("1.165"));
    assert!(pinned.and_then(minor) >= least.and_then(minor), "{pinned:?}");
}
