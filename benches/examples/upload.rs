//! Uploads of any size, straight to the disk. The server holds one read of 64 KiB at most, because the body
//! comes in pieces. Run `cargo run --example upload`, then
//! `curl -T large.iso http://127.0.0.1:8080/upload`. The files go to the temporary directory.

use std::fs::{File, remove_file};
use std::{collections::BTreeMap, error::Error, io::Write, path::PathBuf};

use oneloop::http::{Method, Status};
use oneloop::{Answer, Config, Endpoint, Hub, Intake, Key, Request, Server, Uptake};

/// The files that are being written, by connection, and the number of files up to now.
#[derive(Default)]
struct Upload(BTreeMap<Key, (File, PathBuf)>, u64);

impl Endpoint for Upload {
    fn methods(&self) -> &[Method] {
        &[Method::Put]
    }

    fn on_head(&mut self, _: &mut Hub<'_>, request: &Request<'_>) -> Intake {
        self.1 += 1;
        let name = format!("upload-{}-{}", std::process::id(), self.1);
        let path = std::env::temp_dir().join(name);
        let Ok(file) = File::create_new(&path) else {
            return Intake::Refuse(Answer::empty(Status::InternalServerError));
        };
        self.0.insert(request.key(), (file, path));
        Intake::Pieces
    }

    fn on_body(&mut self, hub: &mut Hub<'_>, key: Key, piece: &[u8]) -> Uptake {
        if let Some((file, _)) = self.0.get_mut(&key)
            && file.write_all(piece).is_ok()
        {
            return Uptake::More;
        }
        self.on_leave(hub, key);
        Uptake::Refuse(Answer::empty(Status::InsufficientStorage))
    }

    fn on_request(&mut self, _: &mut Hub<'_>, request: Request<'_>) -> Answer {
        match self.0.remove(&request.key()) {
            Some((_, path)) => Answer::text(format!("{}\n", path.display())),
            None => Answer::text("there was no body\n").status(Status::BadRequest),
        }
    }

    fn on_leave(&mut self, _: &mut Hub<'_>, key: Key) {
        let _ = self.0.remove(&key).map(|(_, path)| remove_file(path));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bound = Server::bind(&Config::new("www"))?;
    println!("http://{}/upload", bound.addresses[0]);
    bound.with_endpoint("/upload", Upload::default()).run()?;
    Ok(())
}
