//! What all clients share: the server's address, the counts, the faults, and the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::client::Client;
use crate::common::figures::table;

/// The number of faults that are printed in words.
const FAULTS_SHOWN: usize = 20;

pub struct World {
    pub address: SocketAddr,
    running: AtomicBool,
    /// The number of successful exchanges of each kind.
    counts: Mutex<BTreeMap<&'static str, u64>>,
    /// The number of body and message bytes that were compared.
    compared: AtomicU64,
    faults: AtomicU64,
    /// The first faults, in words.
    shown: Mutex<Vec<String>>,
}

impl World {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            running: AtomicBool::new(true),
            counts: Mutex::default(),
            compared: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            shown: Mutex::default(),
        }
    }

    /// Calls a client again and again until the end.
    pub fn run(&self, number: usize, mut client: impl FnMut(&mut Random) -> Result<(), String>) {
        let mut random = Random::new(number as u64);
        while self.is_running() {
            if let Err(fault) = client(&mut random) {
                self.fault(fault);
                // A broken server would otherwise give millions of faults.
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    pub fn end(&self) {
        self.running.store(false, Relaxed);
    }

    /// Counts a successful exchange, in which `bytes` were compared.
    pub fn count(&self, name: &'static str, bytes: usize) {
        self.compared.fetch_add(bytes as u64, Relaxed);
        let mut counts = self.counts.lock().expect("no thread panics with the lock");
        *counts.entry(name).or_default() += 1;
    }

    /// Counts a fault, and prints it if it is one of the first.
    pub fn fault(&self, fault: String) {
        self.faults.fetch_add(1, Relaxed);
        let mut shown = self.shown.lock().expect("no thread panics with the lock");
        if shown.len() < FAULTS_SHOWN {
            eprintln!("FAULT: {fault}");
            shown.push(fault);
        }
    }

    /// Checks that the server answers a request on a new connection.
    pub fn check_answer(&self) -> Result<(), String> {
        let mut client = Client::connect(self)?;
        let answer = client.request("GET", "/absent", "")?;
        answer.expect(404)
    }

    /// Returns the counts as a table.
    pub fn table(&self) -> String {
        let counts = self.counts.lock().expect("no thread panics with the lock");
        let row = |name: &str, value: String| vec![name.into(), value];
        let mut cells = vec![row("exchange", "count".into())];
        cells.extend(
            counts
                .iter()
                .map(|(name, count)| row(name, count.to_string())),
        );
        let compared = self.compared.load(Relaxed) as f64 / 1e9;
        cells.push(row("bytes compared", format!("{compared:.1} GB")));
        table(&cells, 1)
    }

    /// Prints the faults, and returns their number.
    pub fn report_faults(&self) -> u64 {
        let faults = self.faults.load(Relaxed);
        let shown = self.shown.lock().expect("no thread panics with the lock");
        for fault in shown.iter() {
            println!("**FAULT: {fault}**\n");
        }
        println!("faults: {faults}");
        faults
    }
}

/// Random numbers (xorshift64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // A state of zero would stay zero.
        Self((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Returns letters and spaces.
    pub fn text(&mut self, bytes: usize) -> Vec<u8> {
        const LETTERS: &[u8; 16] = b"etaoinshrdlucm w";
        let mut text = Vec::with_capacity(bytes + 16);
        while text.len() < bytes {
            let mut bits = self.next();
            for _ in 0..16 {
                text.push(LETTERS[(bits % 16) as usize]);
                bits /= 16;
            }
        }
        text.truncate(bytes);
        text
    }
}
