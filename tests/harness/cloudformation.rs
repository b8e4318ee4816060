//! What tests and programs ask CloudFormation. It speaks XML, and its SDK crate would take a minute of every build from
//! nothing, for four calls. Operations and fields are named as in AWS's API reference.

use std::collections::HashMap;

use anyhow::{Context, bail};
use http::Request;
use http::header::CONTENT_TYPE;
use roxmltree::{Document, Node};

use crate::aws_json::signed;
use crate::http_client;

/// A client of the local cloud, as its account's root. All calls fail when CloudFormation refuses them or does not
/// answer.
#[derive(Clone, Debug)]
pub struct CloudFormation {
    endpoint: String,
    http: reqwest::Client,
}

impl CloudFormation {
    /// # Errors
    /// When the system has no resources for it.
    pub fn new(endpoint: &str) -> reqwest::Result<Self> {
        let http = http_client::builder().pool_max_idle_per_host(0).build()?;
        Ok(Self { endpoint: endpoint.to_owned(), http })
    }

    /// The stack's outputs.
    pub async fn outputs(&self, stack: &str) -> anyhow::Result<HashMap<String, String>> {
        let answer = self.call("DescribeStacks", Some(stack)).await?;
        Ok(pairs(&Document::parse(&answer)?, "OutputKey", "OutputValue"))
    }

    /// The physical ids of the stack's resources, by logical id.
    pub async fn resources(&self, stack: &str) -> anyhow::Result<HashMap<String, String>> {
        let answer = self.call("DescribeStackResources", Some(stack)).await?;
        Ok(pairs(&Document::parse(&answer)?, "LogicalResourceId", "PhysicalResourceId"))
    }

    /// The stack's status, such as `CREATE_COMPLETE`; `None` when there is no such stack, or none any longer.
    pub async fn status(&self, stack: &str) -> anyhow::Result<Option<String>> {
        let answer = self.call("DescribeStacks", None).await?;
        let statuses = pairs(&Document::parse(&answer)?, "StackName", "StackStatus");
        Ok(statuses.get(stack).filter(|status| *status != "DELETE_COMPLETE").cloned())
    }

    /// Begins to delete the stack.
    pub async fn delete(&self, stack: &str) -> anyhow::Result<()> {
        self.call("DeleteStack", Some(stack)).await.map(drop)
    }

    async fn call(&self, operation: &str, stack: Option<&str>) -> anyhow::Result<String> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation).append_pair("Version", "2010-05-15");
        if let Some(stack) = stack {
            form.append_pair("StackName", stack);
        }
        let request = Request::post(format!("{}/", self.endpoint))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish().into_bytes())?;
        let answer =
            self.http.execute(signed("cloudformation", request)?.try_into()?).await.context(operation.to_owned())?;
        let (status, text) = (answer.status(), answer.text().await?);
        if !status.is_success() {
            bail!("{operation} was answered {status}: {text}");
        }
        Ok(text)
    }
}

/// The texts of all elements that have both children, one as the key of the other.
fn pairs(document: &Document<'_>, key: &str, value: &str) -> HashMap<String, String> {
    let child = |parent: Node<'_, '_>, name: &str| {
        let found = parent.children().find(|child| child.tag_name().name() == name)?;
        Some(found.text().unwrap_or_default().to_owned())
    };
    document.descendants().filter_map(|element| Some((child(element, key)?, child(element, value)?))).collect()
}
