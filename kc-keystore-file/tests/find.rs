//! Finding a node's files from `--node ID|PATH`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use kc_keystore_file::{FileError, FindError, NodeFiles, SearchPlaces, find_node, list_nodes};
use tempfile::TempDir;

fn places(files: &[&str]) -> (TempDir, SearchPlaces) {
    let folder = tempfile::tempdir().unwrap();
    let places = SearchPlaces {
        working: folder.path().join("work"),
        home: Some(folder.path().join("home")),
    };
    for path in [&places.working, places.home.as_ref().unwrap()] {
        fs::create_dir(path).unwrap();
    }
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }
    (folder, places)
}

fn found(node: &str, places: &SearchPlaces, folder: &TempDir) -> PathBuf {
    let config = find_node(node, places).unwrap().config();
    config
        .strip_prefix(fs::canonicalize(folder.path()).unwrap())
        .unwrap()
        .to_owned()
}

#[test]
fn an_id_is_looked_for_in_order() {
    let order = [
        "work/n1.config",
        "work/n1/n1.config",
        "home/n1.config",
        "home/n1/n1.config",
    ];
    for first in 0..order.len() {
        let (folder, places) = places(&order[first..]);
        assert_eq!(found("n1", &places, &folder), Path::new(order[first]));
    }
}

#[test]
fn all_nodes_are_listed_once() {
    let configs = [
        "work/n2.config",
        "work/n1/n1.config",
        "home/n3.config",
        "home/n4/n4.config",
    ];
    let others = ["work/n5/n6.config", "work/n7.crypto", "home/n8"];
    let (folder, mut places) = places(&[&configs[..], &others].concat());
    let root = fs::canonicalize(folder.path()).unwrap();
    let listed = |places: &SearchPlaces| {
        let nodes = list_nodes(places).into_iter().map(|node| {
            let config = node.config();
            config.strip_prefix(&root).unwrap().to_owned()
        });
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(listed(&places), configs.map(PathBuf::from));
    places.home = Some(places.working.clone());
    assert_eq!(listed(&places).len(), 2);
    places.working = folder.path().join("absent");
    assert_eq!(listed(&places).len(), 2);
}

#[test]
fn nothing_found_names_the_places_tried() {
    let (_folder, mut places) = places(&["work/n2.config"]);
    let tried = |error| match error {
        FindError::NotFound { node, tried } if node == "n1" => tried,
        other => panic!("{other}"),
    };
    let (working, home) = (places.working.clone(), places.home.clone().unwrap());
    let error = find_node("n1", &places).unwrap_err();
    let paths = [
        working.join("n1.config"),
        working.join("n1/n1.config"),
        home.join("n1.config"),
        home.join("n1/n1.config"),
    ];
    for path in &paths {
        assert!(
            error.to_string().contains(&path.display().to_string()),
            "{error}"
        );
    }
    assert_eq!(tried(error), paths);
    places.home = None;
    assert_eq!(tried(find_node("n1", &places).unwrap_err()), paths[..2]);
    assert!(matches!(
        find_node("", &places),
        Err(FindError::NotFound { .. })
    ));
}

#[test]
fn a_path_is_a_configuration_or_a_folder_with_one() {
    let (folder, places) = places(&[
        "work/n1.config",
        "work/n1.crypto",
        "work/sub/other.config",
        "work/empty/.keep",
    ]);
    assert_eq!(
        found("n1.config", &places, &folder),
        Path::new("work/n1.config")
    );
    assert_eq!(
        found("./n1.config", &places, &folder),
        Path::new("work/n1.config")
    );
    assert_eq!(found(".", &places, &folder), Path::new("work/n1.config"));
    assert_eq!(
        found("./sub/", &places, &folder),
        Path::new("work/sub/other.config")
    );
    assert_eq!(
        found("sub", &places, &folder),
        Path::new("work/sub/other.config")
    );
    let absolute = folder.path().join("work/sub/other.config");
    assert_eq!(
        found(absolute.to_str().unwrap(), &places, &folder),
        Path::new("work/sub/other.config")
    );
    assert!(matches!(
        find_node("./n1.crypto", &places),
        Err(FindError::NotAConfig { .. })
    ));
    assert!(
        matches!(find_node("n3.config", &places), Err(FindError::NotFound { tried, .. }) if tried.len() == 1)
    );
    assert!(
        matches!(find_node("empty", &places), Err(FindError::NotFound { tried, .. })
        if tried == [places.working.join("empty/*.config")])
    );
}

#[test]
fn of_several_none_is_chosen() {
    let (_folder, places) = places(&["work/b.config", "work/a.config"]);
    let error = find_node(".", &places).unwrap_err();
    assert!(
        error.to_string().contains("a.config") && error.to_string().contains("b.config"),
        "{error}"
    );
    assert!(matches!(error, FindError::Several { found, .. } if found.len() == 2));
}

#[test]
fn references_are_relative_to_the_configurations_folder() {
    let (folder, places) = places(&["work/n.1.config"]);
    let files = find_node("n.1", &places).unwrap();
    let work = fs::canonicalize(folder.path()).unwrap().join("work");
    assert_eq!(files.folder(), work);
    assert_eq!(files.crypto(), work.join("n.1.crypto"));
    assert_eq!(files.seed(), work.join("n.1.seed"));
    assert_eq!(files.lock(), work.join("n.1.lock"));
    assert_eq!(
        files.resolve("file#keys/x.crypto"),
        Some(work.join("keys/x.crypto"))
    );
    assert_eq!(
        files.resolve("file#/etc/x.crypto"),
        Some(PathBuf::from("/etc/x.crypto"))
    );
    assert_eq!(files.resolve("hsm#slot1"), None);
    for reference in [
        "file#keys/x.crypto",
        "file#../x.crypto",
        "file#/etc/x.crypto",
    ] {
        let path = files.resolve(reference).unwrap();
        assert_eq!(files.reference(&path).as_deref(), Some(reference));
    }
}

#[test]
fn a_node_id_cannot_leave_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    for node in ["", ".", "..", "../n1", "a/b", "/n1", "n1/", "n\u{0}1"] {
        assert!(
            matches!(
                NodeFiles::in_folder(folder.path(), node),
                Err(FileError::BadNodeId { .. })
            ),
            "{node:?}"
        );
    }
    let missing = folder.path().join("missing");
    assert!(
        matches!(NodeFiles::in_folder(&missing, "n1"), Err(FileError::Missing { path }) if path == missing)
    );
    assert!(matches!(
        NodeFiles::beside(&folder.path().join("n1.crypto")),
        Err(FileError::NotAFile { .. })
    ));
}
