//! The rules for names of files within an entry (BH-FILE-001, BH-FILE-002).

/// Why `name` is not a legal name, or nothing.
pub(crate) fn fault(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > 1024 {
        return Some(format!("it has {} bytes, not 1 to 1,024", name.len()));
    }
    let segments: Vec<&str> = name.split('/').collect();
    if segments.len() > 16 {
        return Some(format!("it has {} segments, more than 16", segments.len()));
    }
    segments.iter().find_map(|segment| segment_fault(segment))
}

fn segment_fault(segment: &str) -> Option<String> {
    if segment.is_empty() || segment.len() > 255 {
        return Some(format!("a segment has {} bytes, not 1 to 255", segment.len()));
    }
    if segment == "." || segment == ".." {
        return Some(format!("it has the segment `{segment}`"));
    }
    if segment.ends_with(['.', ' ']) {
        return Some("a segment ends in a dot or a space".to_owned());
    }
    if let Some(bad) =
        segment.chars().find(|letter| letter.is_control() || r#"\:*?"<>|"#.contains(*letter))
    {
        return Some(format!("it holds {bad:?}"));
    }
    is_device(segment).then(|| format!("`{segment}` is a device name of Windows"))
}

fn is_device(segment: &str) -> bool {
    let stem = segment.split('.').next().unwrap_or_default().to_ascii_lowercase();
    match stem.as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        _ => {
            let mut digit = stem
                .strip_prefix("com")
                .or_else(|| stem.strip_prefix("lpt"))
                .unwrap_or_default()
                .chars();
            let first = digit.next();
            matches!(first, Some('1'..='9' | '¹' | '²' | '³')) && digit.next().is_none()
        }
    }
}

/// A name that another one equals without regard to ASCII case, or that another
/// one needs as a folder; or nothing.
pub(crate) fn clash<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut all: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    // With `/` before every other byte, a folder comes right before what is in it.
    all.sort_by(|left, right| left.split('/').cmp(right.split('/')));
    let clash = all.windows(2).find(|pair| {
        pair[1].strip_prefix(&pair[0]).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    });
    clash.map(|pair| pair[1].clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_and_illegal_names() {
        for good in
            ["out/libfoo.rlib", "@sign/s", "out/über straße/日本.d", "com0", "com10", "out/.hidden"]
        {
            assert_eq!(fault(good), None, "{good}");
        }
        let long = "x".repeat(256);
        let deep = "a/".repeat(16) + "a";
        for bad in [
            "", "/abs", "a//b", "a/", "../a", "a/./b", "a.", "a ", "a\\b", "c:x", "a\u{7}", "nul",
            "COM1.txt", "lpt9", "COM¹", "conin$", &long, &deep,
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
        assert_eq!(clash(["out/a", "out/b"].into_iter()), None);
        assert_eq!(clash(["out/a", "OUT/A"].into_iter()).as_deref(), Some("out/a"));
        assert_eq!(clash(["out/a/b", "out/a!", "out/A"].into_iter()).as_deref(), Some("out/a/b"));
    }
}
