//! `buildhook-tier`: order, back-filling, background writing, and tiers that are no good.

use std::ffi::OsString;

use buildhook_sdk::protocol::{FileRecord, Lease};
use buildhook_sdk::testing::{Session, contents};
use buildhook_stack_tests::{Setup, example, program, session};
use serde_json::{Value, json};

/// One `[[tier]]`; `flags` is a string of the words that are true. Its time limit is beyond
/// what a slow machine takes, unless `more` says another.
fn tier(name: &str, plugin: &[OsString], flags: &str, more: &str) -> String {
    let plugin: Vec<_> = plugin.iter().map(|word| word.to_str().unwrap()).collect();
    let flag = |word: &str| flags.split(' ').any(|flag| flag == word);
    let limit = if more.contains("timeout") { "" } else { "timeout-ms = 30_000" };
    format!(
        "[[tier]]\nname = \"{name}\"\nplugin = {}\nread = {}\nwrite = {}\nback-fill = {}\n{more}\n{limit}\n",
        json!(plugin),
        flag("read"),
        flag("write"),
        flag("back-fill"),
    )
}

fn start(setup: &Setup, tiers: &[String], arguments: &[&str]) -> Session {
    let file = setup.path("tiers.toml");
    fs_err::write(&file, tiers.concat()).unwrap();
    let mut command = vec![program("tier").into_os_string(), file.into()];
    command.push("--spool".into());
    command.push(setup.path("spool").into());
    command.extend(arguments.iter().map(OsString::from));
    session(&command)
}

fn shell(script: &str) -> Vec<OsString> {
    let hello = r#"{"v":[1],"plugin":{"name":"c","version":"1"},"hooks":["want-to-build","built-a-thing"]}"#;
    let script = format!("printf '%s\\n' '{hello}'\n{script}");
    ["sh", "-c", &script].map(OsString::from).to_vec()
}

fn sample(setup: &Setup) -> Vec<FileRecord> {
    vec![
        setup.fixture.file("out/x", &[1; 5000], true),
        setup.fixture.file("log/stderr", b"", false),
    ]
}

fn has(setup: &Setup, store: &str, key: &str) -> bool {
    session(&setup.local_dir_in(store)).ask(setup.fixture.want(key))["kind"] == "hit"
}

#[test]
fn a_hit_of_a_later_tier_fills_the_earlier_ones() {
    let setup = Setup::new();
    let built = setup.fixture.built("k", &sample(&setup));
    session(&setup.local_dir_in("b")).ask(built.clone());
    // Compressed files are given away as `owned`: back-filling needs its own copy of them.
    let c = setup.above("compress", &[], setup.local_dir_in("c"));
    session(&c).ask(setup.fixture.built("k2", &sample(&setup)));

    let mut tiers = start(
        &setup,
        &[
            tier("a", &setup.local_dir_in("a"), "read back-fill", ""),
            tier("not", &setup.local_dir_in("not"), "read", ""),
            tier("b", &setup.local_dir_in("b"), "read", ""),
            tier("c", &c, "read", ""),
        ],
        &[],
    );
    assert_eq!(tiers.hello()["hooks"], json!(["want-to-build"]));
    let hit = tiers.ask(setup.fixture.want("k"));
    assert_eq!(hit["seal"], built["seal"]);
    assert_eq!(contents(&hit)[1], ("out/x".to_owned(), vec![1; 5000], true));
    let mut hit = tiers.ask(setup.fixture.want("k2"));
    // The host takes what it was given.
    for file in hit["files"].as_array_mut().unwrap() {
        let taken = setup.path(file["digest"].as_str().unwrap());
        if file["lease"] == "owned" {
            fs_err::rename(file["path"].as_str().unwrap(), &taken).unwrap();
            file["path"] = taken.to_str().unwrap().into();
        }
    }
    assert_eq!(contents(&hit)[1].1, vec![1; 5000]);
    assert_eq!(tiers.ask(setup.fixture.want("other"))["reason"]["code"], "not-found");
    let (status, stderr) = tiers.close();
    assert!(status.success() && stderr.is_empty(), "{stderr}");
    for key in ["k", "k2"] {
        assert!(has(&setup, "a", key) && !has(&setup, "not", key), "{key}");
    }
    assert_eq!(fs_err::read_dir(setup.path("spool")).unwrap().count(), 0);
}

#[test]
fn what_was_built_goes_where_it_is_to_go() {
    for lease in [Lease::Borrowed, Lease::Owned] {
        let setup = Setup::new();
        let mut tiers = start(
            &setup,
            &[
                tier("a", &setup.local_dir_in("a"), "read write", ""),
                tier("b", &setup.local_dir_in("b"), "read", ""),
                tier("c", &setup.local_dir_in("c"), "write", "background = true"),
                tier("d", &setup.local_dir_in("d"), "write", ""),
            ],
            &[],
        );
        let mut files = sample(&setup);
        for file in &mut files {
            file.lease = lease;
        }
        let done = tiers.ask(setup.fixture.built("k", &files));
        assert_eq!(done["stored"], "yes", "{done}");
        assert_eq!(done["relocated"].as_array().unwrap().len(), 2);
        // From the answer on what was lent is the host's again.
        for file in files.iter().filter(|file| file.lease == Lease::Borrowed) {
            let _ = fs_err::write(&file.path, b"other");
        }
        let (status, stderr) = tiers.close();
        assert!(status.success() && stderr.is_empty(), "{stderr}");
        let found: Vec<_> = ["a", "b", "c", "d"].map(|store| has(&setup, store, "k")).to_vec();
        assert_eq!(found, [true, false, true, true], "{lease:?}");
    }
}

#[test]
fn only_background_tiers_store_later() {
    let setup = Setup::new();
    let only = [tier("a", &setup.local_dir_in("a"), "write", "background = true")];
    let mut tiers = start(&setup, &only, &[]);
    let files = sample(&setup);
    assert_eq!(tiers.ask(setup.fixture.built("k", &files))["stored"], "later");
    for file in &files {
        fs_err::write(&file.path, b"other").unwrap();
    }
    assert!(tiers.close().0.success());
    assert!(has(&setup, "a", "k"));
}

#[test]
fn bad_tiers_cost_a_bounded_time_and_nothing_else() {
    let answer_late = r#"while IFS= read -r line; do sleep 0.1
        printf '%s\n' "$line" | sed -e 's/want-to-build/miss/' \
            -e 's/"kind":"built-a-thing"/"kind":"done","stored":"yes"/'; done"#;
    let lie = r#"while IFS= read -r line; do
        id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
        echo '{"id":'$id',"kind":"hit","seal":"s","files":[{"name":"out/x","path":"/none","size":1,"digest":"blake3:0000000000000000000000000000000000000000000000000000000000000000","executable":false,"lease":"shared"}]}'
        done"#;
    let asked = tempfile::NamedTempFile::new().unwrap();
    let hang = format!("exec cat >'{}'", asked.path().display());
    let cases = [
        ("slow", answer_late, false),
        ("hangs", &hang, true),
        ("dies", "read -r line; exit 1", true),
        ("lies", lie, true),
        ("garbage", "read -r line; echo nonsense; cat >/dev/null", true),
    ];
    for (name, script, is_left_alone) in cases {
        let setup = Setup::new();
        session(&setup.local_dir_in("last")).ask(setup.fixture.built("k", &sample(&setup)));
        // Only the one that hangs is to run into its limit, also on a slow machine.
        let timeout_ms = if name == "hangs" { 250 } else { 30_000 };
        let limit = format!("timeout-ms = {timeout_ms}");
        let mut tiers = start(
            &setup,
            &[
                tier("bad", &shell(script), "read write back-fill", &limit),
                tier("last", &setup.local_dir_in("last"), "read write", ""),
            ],
            &["--drain-ms", "1000"],
        );
        for _ in 0..8 {
            assert_eq!(tiers.ask(setup.fixture.want("k"))["kind"], "hit", "{name}");
        }
        let built = setup.fixture.built("new", &sample(&setup));
        assert_eq!(tiers.ask(built)["stored"], "yes", "{name}");
        let (status, stderr) = tiers.close();
        assert!(status.success(), "{name}");
        assert_eq!(stderr.contains("`bad` is left alone"), is_left_alone, "{name}: {stderr}");
        assert!(stderr.matches("left alone").count() <= 1, "{name}: {stderr}");
        assert!(has(&setup, "last", "new"));
    }
    // It takes one request at a time and never answered the first; what it costs is three
    // time limits, of which two were spent waiting for that place.
    let requests = fs_err::read_to_string(asked.path()).unwrap();
    assert_eq!(requests.lines().count(), 1);
}

/// Each answer is a tenth of a second late: what it has in vain is bounded, whatever the number
/// of requests, and what it has to give is fetched all the same.
#[test]
fn a_late_tier_is_waited_for_as_long_as_it_is_worth() {
    for hits in [false, true] {
        let setup = Setup::new();
        for key in 0..8 {
            let mut built = setup.fixture.built(&format!("key {key}"), &sample(&setup));
            built["cost-ms"] = 60_000.into();
            session(&setup.local_dir_in(if hits { "late" } else { "other" })).ask(built);
        }
        let log = setup.path("log.jsonl");
        let late: Vec<OsString> =
            vec![example("stack-tests", "late").into(), "100".into(), "--".into()];
        let late = [late, setup.local_dir_in("late")].concat();
        let late = setup.above("log", &["--to", log.to_str().unwrap()], late);
        let mut tiers = start(
            &setup,
            &[
                tier("first", &setup.local_dir_in("first"), "read write", ""),
                tier("late", &late, "read write", "patience-ms = 250"),
            ],
            &[],
        );
        for key in 0..8 {
            let answer = tiers.ask(setup.fixture.want(&format!("key {key}")));
            assert_eq!(answer["kind"] == "hit", hits, "{answer}");
        }
        assert_eq!(tiers.ask(setup.fixture.built("new", &sample(&setup)))["stored"], "yes");
        let (status, stderr) = tiers.close();
        assert!(status.success());
        let text = fs_err::read_to_string(&log).unwrap();
        let asked = text.matches(r#""kind":"want-to-build""#).count();
        if hits {
            assert_eq!((asked, stderr.as_str()), (8, ""));
        } else {
            // On a slow machine it is even later.
            assert!((1..=3).contains(&asked), "{asked}");
            assert_eq!(stderr.matches("`late` is not waited for any more").count(), 1, "{stderr}");
        }
        // In the background, if need be.
        assert!(has(&setup, "late", "new"));
    }
}

/// One that takes a request at a time is not late because it is written to.
#[test]
fn a_tier_that_is_written_to_is_not_blamed_for_it() {
    let setup = Setup::new();
    let (held, go) = (setup.path("held"), setup.path("go"));
    let script = format!(
        r#"while IFS= read -r line; do
        id=$(printf '%s' "$line" | sed 's/.*"id":\([0-9]*\).*/\1/')
        case $line in
        *'"kind":"built-a-thing"'*)
            : > '{}'
            until [ -e '{}' ]; do sleep 0.01; done
            echo '{{"id":'$id',"kind":"done","stored":"yes"}}' ;;
        *) echo '{{"id":'$id',"kind":"miss"}}' ;;
        esac
        done"#,
        held.display(),
        go.display()
    );
    let mut tiers = start(
        &setup,
        &[
            tier("first", &setup.local_dir_in("first"), "read write", ""),
            tier("one", &shell(&script), "read write", "background = true\ntimeout-ms = 250"),
        ],
        &["--drain-ms", "60000"],
    );
    assert_eq!(tiers.ask(setup.fixture.built("k", &sample(&setup)))["stored"], "yes");
    while !held.exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for key in ["a", "b", "c", "d"] {
        let miss = tiers.ask(setup.fixture.want(key));
        let why = miss["reason"]["message"].as_str().unwrap_or_default();
        assert!(why.contains("is being written to"), "{miss}");
    }
    fs_err::write(go, "").unwrap();
    let (status, stderr) = tiers.close();
    assert!(status.success());
    assert_eq!(stderr, "", "it was written to, and is as good as before");
}

#[test]
fn a_tier_that_does_not_start_is_left_out_and_none_is_an_error() {
    let setup = Setup::new();
    let missing = [OsString::from("buildhook-no-such")];
    let mut tiers = start(
        &setup,
        &[
            tier("missing", &missing, "read write", ""),
            tier("a", &setup.local_dir_in("a"), "read write", ""),
        ],
        &[],
    );
    assert_eq!(tiers.ask(setup.fixture.built("k", &sample(&setup)))["stored"], "yes");
    assert_eq!(tiers.ask(setup.fixture.want("k"))["kind"], "hit");
    let (status, stderr) = tiers.close();
    assert!(status.success() && stderr.contains("buildhook-no-such"), "{stderr}");

    let tiers = start(&setup, &[tier("missing", &missing, "read", "")], &[]);
    assert_eq!(tiers.hello()["error"]["kind"], "child");
    assert_eq!(tiers.close().0.code(), Some(2));
}

#[test]
fn what_cannot_be_written_in_time_is_counted() {
    let setup = Setup::new();
    let hangs = shell("exec sleep 600");
    let mut tiers = start(
        &setup,
        &[tier("slow", &hangs, "write", "background = true")],
        &["--drain-ms", "100"],
    );
    for key in ["a", "b", "c"] {
        assert_eq!(tiers.ask(setup.fixture.built(key, &sample(&setup)))["stored"], "later");
    }
    let (status, stderr) = tiers.close();
    assert!(status.success());
    assert!(stderr.contains("3 of 3 entries were not written to `slow`"), "{stderr}");
}

#[test]
fn what_a_killed_session_had_to_write_the_next_one_writes() {
    let setup = Setup::new();
    // The far tier: first it never answers, then it is a store.
    let script = setup.path("far.sh");
    let far: Vec<OsString> = vec!["sh".into(), script.clone().into()];
    let tiers = [
        tier("near", &setup.local_dir_in("near"), "read", ""),
        tier("far", &far, "write", "background = true"),
    ];
    let hello = r#"{"v":[1],"plugin":{"name":"c","version":"1"},"hooks":["built-a-thing"]}"#;
    fs_err::write(&script, format!("echo '{hello}'; while read -r line; do :; done")).unwrap();
    let mut killed = start(&setup, &tiers, &[]);
    let done = killed.ask(setup.fixture.built("k", &sample(&setup)));
    assert_eq!(done["stored"], "later", "{done}");
    killed.kill();
    assert_eq!(fs_err::read_dir(setup.path("spool")).unwrap().count(), 1);

    let store = setup.local_dir_in("far").join(std::ffi::OsStr::new(" "));
    fs_err::write(&script, format!("exec {}", store.to_str().unwrap())).unwrap();
    let next = start(&setup, &tiers, &[]);
    let (status, stderr) = next.close();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("1 entries of it are written now, 0 are dropped"), "{stderr}");
    assert!(has(&setup, "far", "k"));
    assert_eq!(fs_err::read_dir(setup.path("spool")).unwrap().count(), 0);
}

#[test]
fn a_damaged_early_tier_is_healed_by_back_filling() {
    let setup = Setup::new();
    let built = setup.fixture.built("k", &sample(&setup));
    for store in ["a", "b"] {
        session(&setup.local_dir_in(store)).ask(built.clone());
    }
    let blob = {
        let hit = session(&setup.local_dir_in("a")).ask(setup.fixture.want("k"));
        hit["files"][0]["path"].as_str().unwrap().to_owned()
    };
    fs_err::remove_file(&blob).unwrap();
    let mut tiers = start(
        &setup,
        &[
            tier("a", &setup.local_dir_in("a"), "read back-fill", ""),
            tier("b", &setup.local_dir_in("b"), "read", ""),
        ],
        &[],
    );
    let hit = tiers.ask(setup.fixture.want("k"));
    assert_eq!(contents(&hit)[1].1, vec![1; 5000]);
    tiers.close();
    assert!(has(&setup, "a", "k"));
}

#[test]
fn wrong_tiers_are_refused_with_line_and_nearest_word() {
    let setup = Setup::new();
    let plugin = setup.local_dir();
    let cases: [(String, &str); 6] = [
        (tier("a", &plugin, "read", "back-fil = true"), "tiers.toml:7: unknown field `back-fil`"),
        (tier("a", &plugin, "read", "timeout = 3"), "did you mean `timeout-ms`?"),
        (tier("a", &plugin, "", ""), "is neither read nor written"),
        (tier("a", &[], "read", ""), "names no plugin"),
        (tier("a", &plugin, "read", "").repeat(2), "the tier `a` stands twice"),
        ("[[tier]]\nname = 3\n".to_owned(), "tiers.toml:2: invalid type"),
    ];
    for (text, expected) in cases {
        let tiers = start(&setup, &[text], &[]);
        let error: Value = tiers.hello()["error"].clone();
        assert_eq!(error["kind"], "config");
        assert!(error["message"].as_str().unwrap().contains(expected), "{error}");
        assert_eq!(tiers.close().0.code(), Some(2));
    }
}
