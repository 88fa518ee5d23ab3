//! Where requests go.

use crate::settings::{Addressing, Settings};

/// The region that AWS takes for none, and that servers other than AWS expect.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// The bucket's address, by region.
#[derive(Debug)]
pub(super) struct Target {
    bucket: String,
    addressing: Addressing,
    endpoint: Option<crate::settings::Endpoint>,
}

impl Target {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            bucket: settings.bucket.clone(),
            addressing: settings.addressing,
            endpoint: settings.endpoint.clone(),
        }
    }

    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Host and port that are connected to, without the bucket.
    pub(super) fn server(&self, region: &str) -> String {
        match &self.endpoint {
            Some(endpoint) => endpoint.authority.clone(),
            None => {
                let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
                format!("s3.{region}.amazonaws.com{suffix}")
            }
        }
    }

    /// The URL of an object. Bucket and object hold no character that must be escaped.
    pub(super) fn url(&self, region: &str, object: &str) -> String {
        let server = self.server(region);
        let (scheme, path) = match &self.endpoint {
            Some(endpoint) => (endpoint.scheme, endpoint.path.as_str()),
            None => ("https", ""),
        };
        let bucket = &self.bucket;
        match self.addressing {
            Addressing::Path => format!("{scheme}://{server}{path}/{bucket}/{object}"),
            Addressing::Virtual => format!("{scheme}://{bucket}.{server}{path}/{object}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Options, Surroundings};

    fn url(options: Options, region: &str) -> String {
        let options = Options { bucket: Some("b".to_owned()), ..options };
        Target::new(&Settings::new(options, Surroundings::default()).unwrap()).url(region, "v1/x")
    }

    #[test]
    fn urls_by_region_endpoint_and_style() {
        let aws = Options::default;
        assert_eq!(url(aws(), "eu-west-1"), "https://b.s3.eu-west-1.amazonaws.com/v1/x");
        assert_eq!(url(aws(), "cn-north-1"), "https://b.s3.cn-north-1.amazonaws.com.cn/v1/x");
        let path = Options { addressing: Some(Addressing::Path), ..aws() };
        assert_eq!(url(path, "eu-west-1"), "https://s3.eu-west-1.amazonaws.com/b/v1/x");
        let own = Options { endpoint: Some("http://h:9000/s3".to_owned()), ..aws() };
        assert_eq!(url(own, "any"), "http://h:9000/s3/b/v1/x");
    }
}
