use super::*;

const DEADLINE: Duration = Duration::from_secs(5);

fn supervisor_with_an_obedient_task() -> Supervisor {
    let mut supervisor = Supervisor::default();
    let shutdown = supervisor.shutdown();
    supervisor.spawn("obedient", async move {
        shutdown.cancelled().await;
        Ok(())
    });
    supervisor
}

async fn message_of(supervisor: Supervisor) -> String {
    supervisor.run(DEADLINE).await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_token_drains_and_ends_well() {
    let supervisor = supervisor_with_an_obedient_task();
    supervisor.shutdown().cancel();
    supervisor.run(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_stops_the_others_and_is_named() {
    let mut supervisor = supervisor_with_an_obedient_task();
    supervisor.spawn("faulty", async { Err(anyhow::anyhow!("disk").context("can't write")) });
    assert_eq!(message_of(supervisor).await, r#"task "faulty" failed: can't write: disk"#);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_early_stops_the_others_and_is_named() {
    let mut supervisor = supervisor_with_an_obedient_task();
    supervisor.spawn("short", async { Ok(()) });
    assert_eq!(message_of(supervisor).await, r#"task "short" ended although nothing had asked it to stop"#);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_panics_stops_the_others_and_is_named() {
    let mut supervisor = supervisor_with_an_obedient_task();
    supervisor.spawn("broken", async { panic!("on purpose") });
    assert_eq!(message_of(supervisor).await, r#"task "broken" panicked"#);
}

#[tokio::test]
async fn a_thread_that_panics_stops_the_others_and_is_named() {
    let mut supervisor = supervisor_with_an_obedient_task();
    supervisor.spawn_thread("thread", || panic!("on purpose")).unwrap();
    assert_eq!(message_of(supervisor).await, r#"task "thread" panicked"#);
}

#[tokio::test]
async fn a_thread_with_its_own_runtime_stops_with_the_token() {
    let mut supervisor = supervisor_with_an_obedient_task();
    let shutdown = supervisor.shutdown();
    let stop = supervisor.shutdown();
    supervisor
        .spawn_runtime("runtime", move || async move {
            let not_send = std::rc::Rc::new(());
            stop.cancel();
            shutdown.cancelled().await;
            drop(not_send);
            Ok(())
        })
        .unwrap();
    supervisor.run(DEADLINE).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_stop_in_time_is_named() {
    let mut supervisor = supervisor_with_an_obedient_task();
    supervisor.spawn("deaf", std::future::pending());
    supervisor.shutdown().cancel();
    assert_eq!(message_of(supervisor).await, "still at work 5 s after the request to stop: deaf");
}

#[tokio::test(start_paused = true)]
async fn an_error_during_the_drain_is_reported() {
    let mut supervisor = supervisor_with_an_obedient_task();
    let shutdown = supervisor.shutdown();
    supervisor.spawn("late", async move {
        shutdown.cancelled().await;
        Err(anyhow::anyhow!("can't flush"))
    });
    supervisor.shutdown().cancel();
    assert_eq!(message_of(supervisor).await, r#"task "late" failed: can't flush"#);
}
