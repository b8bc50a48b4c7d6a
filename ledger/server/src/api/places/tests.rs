#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use super::*;

#[test]
fn a_client_with_all_its_places_gets_none_and_another_does() {
    let places = Places::default();
    let (first, second): (Arc<str>, Arc<str>) = ("first".into(), "second".into());
    let mut held: Vec<Place> = (0..REQUESTS_MAX).map(|_| places.take(&first, 1).unwrap()).collect();
    assert!(places.take(&first, 1).is_none());
    let other = places.take(&second, 1).unwrap();
    held.pop();
    let again = places.take(&first, 1).unwrap();
    assert!(places.take(&first, 1).is_none());
    drop((held, again, other));
    assert!(places.clients().is_empty(), "nothing is kept of clients that have gone");
}

#[test]
fn a_client_with_too_many_bytes_on_the_way_gets_no_place_but_a_lone_request_does() {
    let places = Places::default();
    let client: Arc<str> = "client".into();
    let lone = places.take(&client, BYTES_MAX + 1).unwrap();
    assert!(places.take(&client, 1).is_none());
    drop(lone);
    let first = places.take(&client, BYTES_MAX - 1).unwrap();
    assert!(places.take(&client, 2).is_none());
    let second = places.take(&client, 1).unwrap();
    drop((first, second));
}
