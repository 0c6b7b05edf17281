//! A relay in front of an API server in plain text that keeps one write back, and lets it arrive long after its sender has
//! given it up.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::lab::PATIENCE;

/// What is looked for, and what was found.
#[derive(Debug, Default)]
struct Hold {
    /// The write is the first request that has all of these; none if nothing is kept back.
    marks: Vec<&'static str>,
    /// The whole of it, once it is there.
    held: Option<Vec<u8>>,
}

/// The relay. It ends with its owner.
pub(crate) struct LateWrites {
    url: String,
    target: PathBuf,
    hold: Arc<watch::Sender<Hold>>,
    _tasks: JoinSet<()>,
}

impl LateWrites {
    /// Listens, and connects to the socket `target` at which an API server is reached without TLS.
    pub(crate) async fn start(target: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hold = Arc::new(watch::Sender::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target.clone(), Arc::clone(&hold)));
        Self { url, target, hold, _tasks: tasks }
    }

    /// Returns the URL at which it stands for the server.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// Keeps the next request back that has all of these marks.
    pub(crate) fn hold(&self, marks: &[&'static str]) {
        self.hold.send_replace(Hold { marks: marks.to_vec(), held: None });
    }

    /// Waits until one is kept back.
    pub(crate) async fn until_held(&self) {
        let mut seen = self.hold.subscribe();
        let held = seen.wait_for(|hold| hold.held.is_some());
        assert!(tokio::time::timeout(PATIENCE, held).await.is_ok(), "nothing was to be kept back");
    }

    /// Lets it arrive; returns the status of the answer, which nobody waits for any more.
    pub(crate) async fn release(&mut self) -> u16 {
        let request = self.hold.send_replace(Hold::default()).held.unwrap();
        let mut server = UnixStream::connect(&self.target).await.unwrap();
        server.write_all(&request).await.unwrap();
        let mut answer = vec![0; 64];
        let count = server.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}

async fn accept(listener: TcpListener, target: PathBuf, hold: Arc<watch::Sender<Hold>>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let (target, hold) = (target.clone(), Arc::clone(&hold));
        connections.spawn(async move {
            let Ok(far) = UnixStream::connect(target).await else { return };
            relay(near, far, &hold).await;
        });
    }
}

async fn relay(near: TcpStream, far: UnixStream, hold: &watch::Sender<Hold>) {
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let up = async {
        while let Some(request) = read_request(&mut near_read).await {
            let text = String::from_utf8_lossy(&request);
            let is_kept = hold.send_if_modified(|hold| {
                let is_it = !hold.marks.is_empty() && hold.marks.iter().all(|mark| text.contains(mark));
                if is_it {
                    *hold = Hold { marks: Vec::new(), held: Some(request.clone()) };
                }
                is_it
            });
            if is_kept {
                // Nobody answers; the sender gives it up by itself.
                drop(near_read.read(&mut [0]).await);
                return;
            }
            if far_write.write_all(&request).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut far_read, &mut near_write) => {}
    }
}

/// Reads a request with its body, whose length it has to name; none at the end.
async fn read_request(from: &mut (impl AsyncReadExt + Unpin)) -> Option<Vec<u8>> {
    const END: &[u8] = b"\r\n\r\n";
    let mut request = Vec::new();
    loop {
        if let Some(head) = request.windows(END.len()).position(|window| window == END) {
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if request.len() >= head + END.len() + length.unwrap_or(0) {
                return Some(request);
            }
        }
        if from.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
}
