//! The flags that change what is served, and with which fields.

use crate::harness::{Folder, Server};

#[test]
fn hidden_files_are_served_on_demand_and_nothing_above_the_root() {
    let folder = Folder::with("root/.env", "secret");
    folder.put("root/.git/config", "secret");
    folder.put("root/.well-known/a", "open");
    folder.put("b", "outside");
    let root = folder.path().join("root");
    for (flags, hidden) in [(&["--log", "off"][..], 404), (&["--log", "off", "--hidden"], 200)] {
        let server = Server::with(&root, flags);
        let mut client = server.connect();
        for (target, status) in [
            ("/.env", hidden),
            ("/%2eenv", hidden),
            ("/.git/config", hidden),
            ("/.well-known/a", 200),
            ("/.git/../../b", 404),
            ("/.git/%2e%2e/%2e%2e/b", 404),
            ("/../b", 404),
            ("/..", 404),
        ] {
            assert_eq!(client.get(target).status, status, "{target} {flags:?}");
        }
    }
}
