//! The region of a profile in `~/.aws/config`, which is all that is read of it here: where
//! credentials come from is for the signer to find.

use std::path::{Path, PathBuf};

use crate::settings::Surroundings;

/// Largest file that is read, in bytes; longer ones are written by no person.
const MAX_BYTES: u64 = 1024 * 1024;

/// The region that the profile in use names: `named`, that of `AWS_PROFILE`, or `default`.
pub(crate) fn region(named: Option<&str>, around: &Surroundings) -> Option<String> {
    let variable = |name: &str| around.variables.get(name).map(String::as_str);
    let file = match variable("AWS_CONFIG_FILE") {
        Some(path) => PathBuf::from(path),
        None => around.home.as_ref()?.join(".aws/config"),
    };
    let profile = named.or_else(|| variable("AWS_PROFILE")).unwrap_or("default");
    region_in(&read(&file)?, profile)
}

fn read(file: &Path) -> Option<String> {
    (fs_err::metadata(file).ok()?.len() <= MAX_BYTES).then_some(())?;
    fs_err::read_to_string(file).ok()
}

fn region_in(text: &str, profile: &str) -> Option<String> {
    let mut is_inside = false;
    for line in text.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            let name = section.split(']').next().unwrap_or_default().trim();
            // `[default]`, but `[profile other]`.
            let name = name.strip_prefix("profile ").map_or(name, str::trim);
            is_inside = name == profile;
        } else if is_inside
            // Indented lines belong to the setting above them.
            && !line.starts_with([' ', '\t'])
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "region"
        {
            return Some(value.trim().to_owned()).filter(|region| !region.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_of_the_profile_is_found() {
        let text = "# mine\n[default]\nregion = eu-west-1\n[profile team]\ns3 =\n  region = no\n\
            output=json\nregion=us-west-2 \n[profile bare]\n";
        for (profile, region) in [
            ("default", Some("eu-west-1")),
            ("team", Some("us-west-2")),
            ("bare", None),
            ("absent", None),
        ] {
            assert_eq!(region_in(text, profile).as_deref(), region, "{profile}");
        }
    }
}
