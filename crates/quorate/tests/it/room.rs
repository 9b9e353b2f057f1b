//! How much an in-process home keeps of its caches.

use quorate::{CacheSpec, Fleet};

/// Whether in memory or in a file, for all instances of the home, and said by URL, builder or file alike.
#[tokio::test]
async fn in_process_caches_have_a_bound() {
    const VALUES: CacheSpec<u64, String> = CacheSpec::new("values");
    let fleet = Fleet::connect("memory:?cache_bytes=65536").await.unwrap();
    let other = fleet.instance("other").await.unwrap();
    let value = "x".repeat(1000);
    for key in 0..500 {
        let instance = if key % 2 == 0 { &fleet } else { &other };
        instance.cache(&VALUES).put(&key, &value).await.unwrap();
        assert_eq!(
            fleet.cache(&VALUES).get(&key).await.unwrap().as_ref(),
            Some(&value)
        );
    }
    let keys: Vec<u64> = (0..500).collect();
    let left = other.cache(&VALUES).get_many(&keys).await.unwrap();
    let left = left.iter().flatten().count();
    assert!((20..65).contains(&left), "{left} values of 1 KB in 64 KiB");
    let wrong = Fleet::connect("redis://localhost?cache_bytes=65536").await;
    assert!(wrong.unwrap_err().to_string().contains("cache_bytes"));
}
