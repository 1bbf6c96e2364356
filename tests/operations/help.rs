//! Completions that shells can read, and manual pages of every command.

use std::fs;
use std::process::{Command, Stdio};

use crate::ROTATION;
use crate::programs::World;

/// Whether a program is on this machine.
fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

#[test]
fn shells_can_read_their_completions() {
    let world = World::new(ROTATION);
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = world.succeed(&["completions", shell]);
        for command in ["doctor", "restore", "market"] {
            assert!(script.contains(command), "{shell} knows {command}");
        }
        world.write(shell, &script);
        if is_there(shell) {
            let status = Command::new(shell).arg(check).arg(world.path(shell)).status().unwrap();
            assert!(status.success(), "{shell} cannot read it");
        }
    }
    assert!(is_there("bash"), "one shell at least has read it");
    let complete = r#"
        source ./bash
        function=$(complete -p xbr-seller | sed 's/.*-F \([^ ]*\).*/\1/')
        COMP_WORDS=(xbr-seller sales exp) COMP_CWORD=2
        $function xbr-seller exp sales
        echo "${COMPREPLY[@]}"
    "#;
    let completed = Command::new("bash").args(["-c", complete]).current_dir(world.path("")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "export");
    assert_eq!(world.run(&["completions", "tcsh"]).1, Some(2));
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new(ROTATION);
    world.succeed(&["man", "--out", "man"]);
    for page in ["xbr-seller", "xbr-seller-run", "xbr-seller-sales-verify", "xbr-seller-market-channel-open"]
    {
        let text = fs::read_to_string(world.path(&format!("man/{page}.1"))).unwrap();
        for section in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.contains(section), "{page} has {section}");
        }
        if is_there("groff") {
            let path = world.path(&format!("man/{page}.1"));
            let rendered = Command::new("groff").args(["-man", "-Tutf8", "-ww"]).arg(path).output().unwrap();
            assert!(rendered.status.success() && rendered.stderr.is_empty(), "{page}: {rendered:?}");
        }
    }
    assert!(world.succeed(&["man"]).contains("doctor"));
}
