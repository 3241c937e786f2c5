//! Output that only a terminal shows.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::world::{PRODUCE_ALL, World, succeed};

/// Runs a command whose stderr is a terminal. Returns the output on the terminal.
fn on_terminal(command: &mut Command) -> String {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let mut options = OpenOptions::new();
    let terminal = options.read(true).write(true).open(name.to_str().unwrap());
    command.stderr(Stdio::from(terminal.unwrap()));
    // Without this variable, no progress is shown.
    command.env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    // All handles of the terminal are closed when the program has ended, so that the next read returns an error.
    command.stderr(Stdio::null());
    let mut shown = Vec::new();
    let _ = File::from(controller).read_to_end(&mut shown);
    assert!(child.wait().unwrap().success());
    String::from_utf8_lossy(&shown).into_owned()
}

#[test]
fn long_transfers_show_how_far_they_are() {
    let world = World::new();
    world.provision("prodcon", "alice", &[]);
    // Far more than fits into the time between two updates of the line.
    world.write("in.txt", "a line of the file\n".repeat(100_000));
    let shown = on_terminal(&mut world.kc(&PRODUCE_ALL));
    assert!(shown.contains("of 1.81 MiB"), "{shown}");
    assert!(shown.contains(" records, "), "{shown}");
    assert!(shown.trim_end().ends_with("sent 100000 records"), "{shown}");

    let raw = [
        "consume",
        "t",
        "--raw",
        "-b",
        &world.address,
        "--count",
        "100000",
    ];
    let mut consume = world.kc(&raw);
    let shown = on_terminal(consume.stdout(Stdio::null()));
    assert!(shown.contains(" records, "), "{shown}");

    world.write("in.txt", "a line of the file\n".repeat(1000));
    let quiet = on_terminal(&mut world.kc(&[&["-q"], &PRODUCE_ALL[..]].concat()));
    assert_eq!(quiet.trim_end(), "sent 1000 records");
    let piped = succeed(&mut world.kc(&PRODUCE_ALL)).stderr;
    assert!(!String::from_utf8(piped).unwrap().contains("MiB"));
}
