//! What is in the bucket, seen past the plugin: in the folder of the server in this process,
//! or by requests to another one.

use std::path::{Path, PathBuf};

use reqsign_aws_v4::{Credential, RequestSigner, StaticCredentialProvider};
use reqsign_core::{Context, Signer};

/// Where to look.
pub(crate) enum Objects {
    /// The bucket's folder.
    Folder(PathBuf),
    /// The bucket's URL and what is needed to sign.
    Server { bucket: String, signer: Signer<Credential>, prefix: String },
}

impl Objects {
    /// Those below `prefix` in a bucket elsewhere.
    pub(crate) fn at(
        bucket: String,
        access_key: &str,
        secret: &str,
        region: &str,
        prefix: String,
    ) -> Self {
        let signer = Signer::new(
            Context::new(),
            StaticCredentialProvider::new(access_key, secret),
            RequestSigner::new("s3", region),
        );
        Self::Server { bucket, signer, prefix }
    }

    /// The names below `folder`, sorted.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        match self {
            Self::Folder(root) => collect(root, &root.join(folder), &mut names),
            Self::Server { prefix, .. } => {
                // Servers differ in how they sign a slash in a query.
                let query = format!("?list-type=2&prefix={prefix}");
                let listing = String::from_utf8(self.send("GET", &query, &[])).unwrap();
                for rest in listing.split("<Key>").skip(1) {
                    let name = rest.split("</Key>").next().unwrap();
                    let name = name.strip_prefix(&format!("{prefix}/")).unwrap();
                    if name.starts_with(&format!("{folder}/")) {
                        names.push(name.to_owned());
                    }
                }
            }
        }
        names.sort();
        names
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        match self {
            Self::Folder(root) => std::fs::read(root.join(name)).unwrap(),
            Self::Server { prefix, .. } => self.send("GET", &format!("/{prefix}/{name}"), &[]),
        }
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        match self {
            Self::Folder(root) => {
                std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
                std::fs::write(root.join(name), content).unwrap();
            }
            Self::Server { prefix, .. } => {
                self.send("PUT", &format!("/{prefix}/{name}"), content);
            }
        }
    }

    pub(crate) fn remove(&self, name: &str) {
        match self {
            Self::Folder(root) => std::fs::remove_file(root.join(name)).unwrap(),
            Self::Server { prefix, .. } => {
                self.send("DELETE", &format!("/{prefix}/{name}"), &[]);
            }
        }
    }

    fn send(&self, method: &str, rest: &str, content: &[u8]) -> Vec<u8> {
        let Self::Server { bucket, signer, .. } = self else { panic!("a folder is not asked") };
        let request = http::Request::builder().method(method).uri(format!("{bucket}{rest}"));
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        pollster::block_on(signer.sign(&mut parts, None)).unwrap();
        let request = http::Request::from_parts(parts, content);
        let mut response =
            ureq::run(request).unwrap_or_else(|error| panic!("{method} {rest}: {error}"));
        response.body_mut().read_to_vec().unwrap()
    }
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, names);
        } else {
            names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}
