//! The choice of a Kafka client, and its settings.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use kc::BackendChoice;
use kc::core::store::config::Section;
use kc::keystore_file::read_config;

use crate::world::{World, complaint, fail, succeed};

#[test]
fn a_backend_that_is_unknown_or_not_built_in_is_usage() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let consume = ["consume", "t", "--node", "bob", "--backend"];
    let stderr = world.fail(&[&consume[..], &["java"]].concat(), 2);
    assert!(stderr.contains("pure, rdkafka and legacy"), "{stderr}");

    let absent = BackendChoice::ALL.into_iter();
    for choice in absent.filter(|choice| !choice.is_built_in()) {
        let stderr = world.fail(&[&consume[..], &[choice.name()]].concat(), 2);
        let feature = format!("the feature `{}`", choice.feature());
        assert!(complaint(&stderr).contains(&feature), "{stderr}");
    }
}

#[test]
fn the_backend_in_the_configuration_counts_unless_another_is_told() {
    let world = World::new();
    world.provision("producer", "alice", &["--backend", "legacy"]);
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    assert!(config.contains("backend : legacy"), "{config}");
    world.write("lines", "a\n");
    let produce = [
        "produce",
        "t",
        "lines",
        "--node",
        "alice",
        "--exit-after",
        "0s",
    ];
    if !BackendChoice::Legacy.is_built_in() {
        world.fail(&produce, 2);
    }
    world.succeed(&[&produce[..], &["--backend", "pure"]].concat());

    world.write("alice.config", config.replace("legacy", "legend"));
    let stderr = world.fail(&produce, 1);
    assert!(complaint(&stderr).contains("legend"), "{stderr}");
    assert!(complaint(&stderr).contains("alice.config"), "{stderr}");
}

/// Starts a broker with SASL that closes each connection after the login. Returns its address and the bytes of each
/// login.
fn with_sasl() -> (String, Receiver<Vec<u8>>) {
    const HANDSHAKE: u8 = 17;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, logins) = channel();
    let serve = move |mut client: TcpStream| -> std::io::Result<()> {
        loop {
            let mut length = [0; 4];
            client.read_exact(&mut length)?;
            let mut request = vec![0; u32::from_be_bytes(length) as usize];
            client.read_exact(&mut request)?;
            if request[1] != HANDSHAKE {
                // The test may have stopped waiting for it.
                let _ = send.send(request);
                return Ok(());
            }
            // The response to this request: no error, and PLAIN as the only mechanism.
            let answer = [&request[4..8], b"\0\0\0\0\0\x01\0\x05PLAIN"].concat();
            let length = u32::try_from(answer.len()).unwrap();
            client.write_all(&[&length.to_be_bytes(), &answer[..]].concat())?;
        }
    };
    thread::spawn(move || {
        for client in listener.incoming() {
            // The client may close the connection.
            let _ = serve(client.unwrap());
        }
    });
    (address, logins)
}

#[test]
fn a_password_comes_from_a_file_and_one_on_the_command_line_is_remarked_on() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    world.write("password", "hush\n");
    let connect = |password: &str| {
        let (address, logins) = with_sasl();
        let password = format!("sasl_plain_password={password}");
        let args = [
            "consume",
            "t",
            "--node",
            "bob",
            "-b",
            &address,
            "--security-protocol",
            "SASL_PLAINTEXT",
            "-X",
            "sasl_mechanism=PLAIN",
            "-X",
            "sasl.username=me",
            "-X",
            &password,
        ];
        let stderr = world.fail(&args, 4);
        let login = logins.try_recv().unwrap();
        assert!(login.ends_with(b"\0me\0hush"), "{login:x?}");
        stderr
    };
    let stderr = connect("hush");
    assert!(stderr.contains("other users of this host can see -X sasl_plain_password"));
    let stderr = connect("file#password");
    assert!(
        !stderr.contains("other users of this host can see"),
        "{stderr}"
    );
    assert!(!stderr.contains("hush"), "{stderr}");
}

#[test]
fn settings_that_no_backend_has_are_refused() {
    let world = World::new();
    world.provision("consumer", "bob", &[]);
    let missing = "sasl_plain_password=file#missing";
    for (setting, exit, told) in [
        ("bootstraps.servers=x", 2, "`bootstrap.servers`"),
        ("transactional_id=x", 2, "`transactional_id`"),
        (missing, 1, "missing does not exist"),
        ("auto_offset_reset=soon", 2, "`auto_offset_reset`"),
    ] {
        let stderr = world.fail(&["consume", "t", "--node", "bob", "-X", setting], exit);
        assert!(complaint(&stderr).contains(told), "{stderr}");
    }
}

/// The Python peer writes an `ssl_cafile` into the file of each node that it opens.
#[test]
fn settings_without_effect_are_a_warning() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    let opened = config.replace(
        "ssl_cafile : ",
        "ssl_cafile : /etc/ssl/certs/ca-certificates.crt",
    );
    assert_ne!(opened, config);
    world.write("alice.config", opened);
    world.write("lines", "a\n");
    let warning = |args: &[&str]| {
        let stderr = succeed(&mut world.kc(args)).stderr;
        let stderr = String::from_utf8(stderr).unwrap();
        let warnings = stderr
            .lines()
            .filter(|line| line.contains("without effect"));
        let warnings =
            Vec::from_iter(warnings.map(|line| line.rsplit_once(": ").unwrap().1.to_owned()));
        assert_eq!(warnings.len(), 1, "{stderr}");
        warnings.concat()
    };
    let produce = [
        "produce",
        "t",
        "lines",
        "--node",
        "alice",
        "--exit-after",
        "0s",
    ];
    assert_eq!(warning(&produce), "ssl_cafile");
    let more = ["-X", "socket.keepalive.enable=true", "-X", "acks=1"];
    assert_eq!(
        warning(&[&produce[..], &more].concat()),
        "acks, socket.keepalive.enable, ssl_cafile"
    );
    let create = [
        "topics",
        "create",
        "u",
        "-b",
        &world.address,
        "-X",
        "retries=3",
    ];
    assert_eq!(warning(&create), "retries");
}

/// From the end of the side topics, the peers would miss the first request or reply.
#[test]
fn provisioning_has_the_peers_read_side_topics_from_the_beginning() {
    let world = World::new();
    let starts = |node: &str| {
        let config = read_config(&world.files(node)).unwrap();
        ["kafka-consumer", "kafka-data-consumer"].map(|section| {
            let start = config
                .load_text(Section::named(section), "auto_offset_reset")
                .unwrap();
            start.map_or_else(String::new, |start| start.to_string())
        })
    };
    for (role, kc_starts) in [
        ("producer", ""),
        ("consumer", "latest"),
        ("prodcon-limited", "latest"),
    ] {
        world.provision(role, role, &[]);
        assert_eq!(starts(role), ["earliest", kc_starts], "{role}");
    }
    world.provision("consumer", "bob", &["-X", "auto_offset_reset=latest"]);
    assert_eq!(starts("bob"), ["latest", ""]);
}

/// The Python peer does not start with a setting of consumers where producers read it.
#[test]
fn provisioning_writes_settings_where_their_clients_read_them() {
    let world = World::new();
    let settings = [
        "-X",
        "auto.offset.reset=earliest",
        "-X",
        "linger.ms=3",
        "-X",
        "client_id=a",
    ];
    world.provision("prodcon", "alice", &settings);
    let config = read_config(&world.files("alice")).unwrap();
    let text = |section: &str, name: &str| {
        let text = config.load_text(Section::named(section), name).unwrap();
        text.map(|text| text.to_string())
    };
    assert_eq!(
        text("kafka-consumer", "auto_offset_reset").as_deref(),
        Some("earliest")
    );
    assert_eq!(text("kafka-producer", "linger_ms").as_deref(), Some("3"));
    assert_eq!(text("kafka", "client_id").as_deref(), Some("a"));
    assert_eq!(
        text("kafka", "auto_offset_reset").or(text("kafka", "linger_ms")),
        None
    );

    // Without brokers, too. Settings that were not given are not written.
    let provision = ["provision", "producer", "--node", "carol", "-X"];
    let provision = |setting| {
        let mut command = world.kc(&[&provision[..], &[setting]].concat());
        command.env("KC_ROOT_PASSWORD", "root");
        command
    };
    let stderr = fail(&mut provision("linger=1"), 2);
    assert!(complaint(&stderr).contains("`linger_ms`"), "{stderr}");
    assert!(!world.path("carol.config").exists());
    succeed(&mut provision("linger_ms=1"));
    let config = String::from_utf8(world.read("carol.config")).unwrap();
    assert!(config.contains("linger_ms : 1"), "{config}");
}

#[test]
fn a_node_that_starts_at_the_earliest_record_reads_what_was_sent_before() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &["-X", "auto_offset_reset=earliest"]);
    world.write("lines", "a\n");
    let _alice = world.start(&["produce", "t", "lines", "--node", "alice"]);
    let consume = [
        "consume",
        "t",
        "--node",
        "bob",
        "--count",
        "1",
        "--timeout",
        "20s",
    ];
    let found = [
        "consume",
        "t",
        "--raw",
        "--json",
        "-b",
        &world.address,
        "--count",
        "1",
    ];
    world.succeed(&found);
    assert_eq!(world.succeed(&consume), "a\n");
}
