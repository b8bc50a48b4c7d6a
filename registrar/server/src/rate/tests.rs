use super::*;

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[test]
fn a_burst_is_served_and_then_the_rate_holds() {
    let limiter = RateLimiter::new(RateLimits { burst: 3, per_second: 2 });
    let start = Instant::now();
    for _ in 0..3 {
        assert_eq!(limiter.take(address(1), start), Ok(()));
    }
    assert_eq!(limiter.take(address(1), start), Err(Duration::from_millis(500)));
    let later = start + Duration::from_millis(500);
    assert_eq!(limiter.take(address(1), later), Ok(()));
    assert!(limiter.take(address(1), later).is_err());
}

#[test]
fn one_network_does_not_use_up_anothers_rate() {
    let limiter = RateLimiter::new(RateLimits { burst: 1, per_second: 1 });
    let now = Instant::now();
    assert_eq!(limiter.take(address(1), now), Ok(()));
    assert!(limiter.take(address(1), now).is_err());
    assert_eq!(limiter.take(address(2), now), Ok(()));
}

#[test]
fn an_ipv6_host_has_one_bucket_for_all_its_addresses() {
    let limiter = RateLimiter::new(RateLimits { burst: 1, per_second: 1 });
    let now = Instant::now();
    let in_subnet = |subnet: u16, host: u16| IpAddr::from([0x2001, 0xdb8, 0, subnet, 0, 0, 0, host]);
    assert_eq!(limiter.take(in_subnet(1, 1), now), Ok(()));
    assert!(limiter.take(in_subnet(1, 2), now).is_err());
    assert_eq!(limiter.take(in_subnet(2, 1), now), Ok(()));
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201]);
    assert_eq!(limiter.take(mapped, now), Ok(()));
    assert!(limiter.take(address(1), now).is_err());
}

#[test]
fn the_table_of_networks_is_bounded() {
    let limiter = RateLimiter::new(RateLimits { burst: 2, per_second: 1 });
    let now = Instant::now();
    let host = |number: u32| IpAddr::from((0x0a00_0000 + number).to_be_bytes());
    for number in 0..70_000 {
        let _ = limiter.take(host(number), now);
    }
    let len = limiter.buckets.lock().unwrap_or_else(PoisonError::into_inner).by_network.len();
    assert!(len <= NETWORKS_MAX + 1, "{len}");
    // Once the others are full again they are forgotten and newcomers get buckets of their own.
    let later = now + Duration::from_secs(10);
    assert_eq!(limiter.take(host(80_000), later), Ok(()));
    let len = limiter.buckets.lock().unwrap_or_else(PoisonError::into_inner).by_network.len();
    assert!(len < 10, "{len}");
}
