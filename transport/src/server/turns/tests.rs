#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;

/// Counts who is in a step, through steps that take a while each.
async fn steps(count: usize, inside: Arc<AtomicUsize>, most: Arc<AtomicUsize>) {
    for _ in 0..count {
        let mut stepped = false;
        poll_fn(|context| {
            if stepped {
                return Poll::Ready(());
            }
            stepped = true;
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
            inside.fetch_sub(1, Ordering::SeqCst);
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

async fn most_at_once(turns: Option<Turns>) -> usize {
    let (inside, most) = (Arc::default(), Arc::default());
    let tasks = (0..16).map(|_| {
        let work = steps(5, Arc::clone(&inside), Arc::clone(&most));
        let turns = turns.clone();
        tokio::spawn(async move {
            match turns {
                Some(turns) => turns.take(work).await,
                None => work.await,
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    most.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_steps_run_at_once_than_there_are_turns() {
    assert_eq!(most_at_once(Some(Turns::new(1))).await, 1);
    assert!(most_at_once(Some(Turns::new(2))).await <= 2);
    assert!(most_at_once(None).await > 2, "without turns they would");
}

#[tokio::test]
async fn whoever_keeps_silent_holds_no_turn() {
    let turns = Turns::new(1);
    let silent: Vec<_> = (0..8)
        .map(|_| {
            let turns = turns.clone();
            tokio::spawn(async move { turns.take(std::future::pending::<()>()).await })
        })
        .collect();
    let work = async {
        tokio::task::yield_now().await;
        7
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(20), turns.take(work)).await, Ok(7));
    silent.iter().for_each(tokio::task::JoinHandle::abort);
}
