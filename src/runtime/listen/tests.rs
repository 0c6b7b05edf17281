use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::*;

const MODE: u32 = 0o660;

fn free_port() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

fn unix(path: impl AsRef<Path>) -> Address {
    Address::Unix(path.as_ref().to_owned())
}

fn message_of(address: &Address) -> String {
    bind(address, MODE).unwrap_err().to_string()
}

/// Leaves the file of a socket behind, as a process that was killed does.
fn leave_stale(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

#[tokio::test]
async fn port_0_becomes_a_real_one_and_a_taken_port_is_an_error() {
    let listener = bind(&free_port(), MODE).unwrap();
    let Address::Tcp(address) = listener.address() else { panic!("not TCP") };
    assert_ne!(address.port(), 0);
    assert_eq!(
        message_of(listener.address()),
        format!(
            "can't listen on {address}: it is in use; \
             stop the process that uses it or choose another address"
        )
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_an_error() {
    let error = bind(&"192.0.2.1:0".parse().unwrap(), MODE).unwrap_err();
    assert!(matches!(error, ListenError::NotLocal { .. }), "{error}");
}

#[tokio::test]
async fn bytes_go_both_ways_over_tcp_and_nothing_waits_to_be_merged() {
    let mut listener = bind(&free_port(), MODE).unwrap();
    let Address::Tcp(address) = *listener.address() else { panic!("not TCP") };
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut accepted = listener.accept().await;
    assert_eq!(accepted.peer(), Peer::Tcp(Some(client.local_addr().unwrap())));
    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    accepted.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"ping");
    let Stream::Tcp(accepted) = accepted else { panic!("not TCP") };
    assert!(accepted.nodelay().unwrap());
}

#[tokio::test]
async fn a_unix_socket_has_the_mode_asked_for_tells_the_user_and_is_removed_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let mut listener = bind(&unix(&path), 0o606).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o606);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut accepted = listener.next().await.unwrap().unwrap();
    assert_eq!(accepted.peer(), Peer::Unix { uid: Some(rustix::process::getuid().as_raw()) });
    accepted.write_all(b"pong").await.unwrap();
    drop(accepted);
    let mut received = String::new();
    client.read_to_string(&mut received).await.unwrap();
    assert_eq!(received, "pong");
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_one_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    leave_stale(&path);
    let _listener = bind(&unix(&path), MODE).unwrap();
    let error = bind(&unix(&path), MODE).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_socket_in_use_with_a_full_queue_is_still_in_use() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let socket = tokio::net::UnixSocket::new_stream().unwrap();
    socket.bind(&path).unwrap();
    let _other = socket.listen(1).unwrap();
    let _queued: Vec<_> = (0..2).map(|_| std::os::unix::net::UnixStream::connect(&path).unwrap()).collect();
    let error = bind(&unix(&path), MODE).unwrap_err();
    assert!(matches!(error, ListenError::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "precious").unwrap();
    leave_stale(&directory.path().join("target"));
    std::os::unix::fs::symlink("target", &link).unwrap();
    for path in [&file, &link] {
        let expected = format!(
            "can't listen on unix:{}: what exists there is not a socket; remove it or choose another path",
            path.display()
        );
        assert_eq!(message_of(&unix(path)), expected);
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[tokio::test]
async fn a_missing_directory_is_an_error_that_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing/a.sock");
    let expected =
        format!("can't listen on unix:{}: its directory does not exist; create or mount it", path.display());
    assert_eq!(message_of(&unix(&path)), expected);
}

#[tokio::test]
async fn a_path_that_is_too_long_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let error = bind(&unix(directory.path().join("a".repeat(120))), MODE).unwrap_err();
    assert!(matches!(error, ListenError::Io { .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_another_process_put_in_place_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let listener = bind(&unix(&path), MODE).unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn a_listener_moves_to_another_runtime() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.sock");
    let first = runtime();
    let listener = first.block_on(async { bind(&unix(&path), MODE).unwrap() });
    runtime().block_on(async {
        let mut listener = listener.rehome().unwrap();
        // Its old home is no longer needed.
        first.shutdown_background();
        let _client = UnixStream::connect(&path).await.unwrap();
        listener.accept().await;
    });
    assert!(!path.exists());
}

#[tokio::test(start_paused = true)]
async fn errors_are_survived_with_a_pause_only_if_they_are_not_about_one_connection() {
    let start = tokio::time::Instant::now();
    let (stream, _other) = UnixStream::pair().unwrap();
    let errors = [Errno::CONNABORTED, Errno::MFILE, Errno::CONNABORTED, Errno::NFILE];
    let mut outcomes = errors.map(|errno| Err(errno.into())).into_iter().chain([Ok(Stream::Unix(stream))]);
    let mut persistence = Persistence::default();
    poll_fn(|cx| persistence.poll(&free_port(), cx, |_| Poll::Ready(outcomes.next().unwrap()))).await;
    let pauses = start.elapsed().as_millis() / PAUSE_AFTER_ERROR.as_millis();
    assert_eq!(pauses, 2);
}

#[tokio::test]
async fn a_shared_socket_is_one_socket_and_its_file_goes_with_the_last_handle() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shared.sock");
    let first = bind(&Address::Unix(path.clone()), 0o600).unwrap();
    let mut second = first.share().unwrap();
    drop(first);
    let client = tokio::net::UnixStream::connect(&path).await.unwrap();
    second.accept().await;
    drop(client);
    drop(second);
    assert!(!path.exists());
}
