#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::mpsc;

use verifier_protocol::appraisal::{ListPart, MeasurementText};

use super::*;

#[tokio::test]
async fn other_agents_proceed_while_an_appraisal_takes_its_time() {
    // One thread serves all agents here: were the appraisal made on it, nothing would ever let it end.
    let appraisers = Appraisers::at_once(1, LONG_LISTS_BYTES_MAX);
    let (release, held) = mpsc::channel::<()>();
    let long = tokio::spawn({
        let appraisers = appraisers.clone();
        async move { appraisers.run(move || held.recv().is_ok()).await }
    });
    while appraisers.free.available_permits() == 1 {
        tokio::task::yield_now().await;
    }
    let other = tokio::spawn(async { "another agent's round" });
    assert_eq!(other.await.unwrap(), "another agent's round");
    assert!(!long.is_finished());
    release.send(()).unwrap();
    assert_eq!(long.await.unwrap(), Ok(true));
}

#[tokio::test]
async fn no_more_run_at_once_than_allowed_and_all_come_to_their_turn() {
    let appraisers = Appraisers::at_once(2, LONG_LISTS_BYTES_MAX);
    let (begun, begins) = mpsc::channel::<usize>();
    let mut releases = Vec::new();
    let mut running = Vec::new();
    for number in 0..6 {
        let (release, held) = mpsc::channel::<()>();
        let (appraisers, begun) = (appraisers.clone(), begun.clone());
        releases.push(release);
        running.push(tokio::spawn(async move {
            let appraisal = move || {
                begun.send(number).unwrap();
                held.recv().unwrap();
            };
            appraisers.run(appraisal).await.unwrap();
        }));
    }
    let mut seen = Vec::new();
    while seen.len() < 6 {
        if let Ok(number) = begins.try_recv() {
            seen.push(number);
            continue;
        }
        assert!(seen.len() <= 2 || seen.len() - running.iter().filter(|task| task.is_finished()).count() <= 2);
        // Both places are taken: the first of those that run may end.
        if seen.len() - running.iter().filter(|task| task.is_finished()).count() == 2 {
            assert_eq!(appraisers.free.available_permits(), 0);
            let next = seen.iter().find(|number| !running.get(**number).unwrap().is_finished()).unwrap();
            releases.get(*next).unwrap().send(()).unwrap();
            while !running.get(*next).unwrap().is_finished() {
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
    }
    releases.iter().for_each(|release| release.send(()).unwrap_or_default());
    for task in running {
        task.await.unwrap();
    }
    assert_eq!(appraisers.free.available_permits(), 2);
}

#[tokio::test]
async fn an_appraisal_that_panics_takes_its_agents_task_with_it_and_frees_its_place() {
    let appraisers = Appraisers::at_once(1, LONG_LISTS_BYTES_MAX);
    let task = tokio::spawn({
        let appraisers = appraisers.clone();
        async move { appraisers.run(|| panic!("a fault")).await }
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(appraisers.run(|| 1).await, Ok(1));
}

#[tokio::test]
async fn an_appraisal_nobody_waits_for_any_more_keeps_its_place_until_it_ends() {
    let appraisers = Appraisers::at_once(1, LONG_LISTS_BYTES_MAX);
    let (release, held) = mpsc::channel::<()>();
    let task = tokio::spawn({
        let appraisers = appraisers.clone();
        async move { appraisers.run(move || held.recv().is_ok()).await }
    });
    while appraisers.free.available_permits() == 1 {
        tokio::task::yield_now().await;
    }
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(appraisers.free.available_permits(), 0);
    release.send(()).unwrap();
    assert_eq!(appraisers.run(|| 2).await, Ok(2));
}

#[test]
fn a_whole_list_is_long_and_an_increment_is_not() {
    let lists = |bytes: usize| Lists {
        ima: ListPart::Present(MeasurementText { first_entry: 0, text: "x".repeat(bytes) }),
        ..Lists::default()
    };
    assert_eq!(long_bytes(&lists(5 * 200)), None);
    assert_eq!(long_bytes(&lists(100_000 * 150)), Some(100_000 * 150));
    let log = Lists { boot_log: ListPart::Present(vec![0; SHORT_BYTES_MAX + 1]), ..Lists::default() };
    assert_eq!(long_bytes(&log), Some(SHORT_BYTES_MAX + 1));
}

#[tokio::test]
async fn what_finds_no_room_waits_its_turn_and_none_is_lost() {
    let largest = 64 << 20;
    let appraisers = Appraisers::at_once(1, 2 * largest);
    let held = [appraisers.room_now(largest).unwrap(), appraisers.room_now(largest).unwrap()];
    assert!(appraisers.room_now(1).is_none());
    let (came, mut comes) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = Vec::new();
    // The first wants as much as there is for one agent; the small ones behind it do not overtake.
    for (number, bytes) in [largest, 1, 1].into_iter().enumerate() {
        let (ask, came) = (appraisers.clone(), came.clone());
        waiting.push(tokio::spawn(async move {
            let room = ask.room(bytes).await.unwrap();
            assert!(room.holds(bytes));
            came.send(number).unwrap();
            room
        }));
        tokio::task::yield_now().await;
    }
    let [one, other] = held;
    drop(one);
    assert_eq!(comes.recv().await, Some(0));
    assert!(appraisers.room_now(1).is_none(), "two still wait");
    drop(other);
    assert_eq!((comes.recv().await, comes.recv().await), (Some(1), Some(2)));
    for task in waiting {
        drop(task.await.unwrap());
    }
    assert_eq!(appraisers.room.available_permits(), appraisers.units as usize);
}

#[tokio::test]
async fn one_who_waits_no_longer_leaves_no_hole() {
    let appraisers = Appraisers::at_once(1, 2 * ROOM_UNIT_BYTES);
    let all = appraisers.room_now(64 << 20).unwrap();
    let given_up = tokio::spawn({
        let appraisers = appraisers.clone();
        async move { appraisers.room(1).await.map(drop) }
    });
    tokio::task::yield_now().await;
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    drop(all);
    // However little is configured, one agent's largest lists fit in, alone.
    assert!(appraisers.room_now(64 << 20).unwrap().holds(65 << 20));
    assert!(!appraisers.room_now(1).unwrap().holds(ROOM_UNIT_BYTES + 1));
}
