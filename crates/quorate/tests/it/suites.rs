//! The conformance suites: one test per clause and home.

use quorate_testing::harness::{Embedded, EmbeddedFile, OnServer};
use quorate_testing::servers::ServerKind;
use quorate_testing::{
    cache_suite, events_suite, execution_suite, group_suite, history_suite, limit_suite,
    lock_suite, presence_suite, session_suite, store_suite, vote_suite,
};

mod cache {
    use super::*;
    cache_suite!(embedded, Embedded);
    cache_suite!(file, EmbeddedFile);
    cache_suite!(redis, OnServer(ServerKind::Redis));
    cache_suite!(valkey, OnServer(ServerKind::Valkey));
    cache_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod events {
    use super::*;
    events_suite!(embedded, Embedded);
    events_suite!(file, EmbeddedFile);
    events_suite!(redis, OnServer(ServerKind::Redis));
    events_suite!(valkey, OnServer(ServerKind::Valkey));
    events_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod execution {
    use super::*;
    execution_suite!(embedded, Embedded);
    execution_suite!(file, EmbeddedFile);
    execution_suite!(redis, OnServer(ServerKind::Redis));
    execution_suite!(valkey, OnServer(ServerKind::Valkey));
    execution_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod group {
    use super::*;
    group_suite!(embedded, Embedded);
    group_suite!(file, EmbeddedFile);
    group_suite!(redis, OnServer(ServerKind::Redis));
    group_suite!(valkey, OnServer(ServerKind::Valkey));
    group_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod history {
    use super::*;
    history_suite!(embedded, Embedded);
    history_suite!(file, EmbeddedFile);
    history_suite!(redis, OnServer(ServerKind::Redis));
    history_suite!(valkey, OnServer(ServerKind::Valkey));
    history_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod limit {
    use super::*;
    limit_suite!(embedded, Embedded);
    limit_suite!(file, EmbeddedFile);
    limit_suite!(redis, OnServer(ServerKind::Redis));
    limit_suite!(valkey, OnServer(ServerKind::Valkey));
    limit_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod lock {
    use super::*;
    lock_suite!(embedded, Embedded);
    lock_suite!(file, EmbeddedFile);
    lock_suite!(redis, OnServer(ServerKind::Redis));
    lock_suite!(valkey, OnServer(ServerKind::Valkey));
    lock_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod presence {
    use super::*;
    presence_suite!(embedded, Embedded);
    presence_suite!(file, EmbeddedFile);
    presence_suite!(redis, OnServer(ServerKind::Redis));
    presence_suite!(valkey, OnServer(ServerKind::Valkey));
    presence_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod session {
    use super::*;
    session_suite!(embedded, Embedded);
    session_suite!(file, EmbeddedFile);
    session_suite!(redis, OnServer(ServerKind::Redis));
    session_suite!(valkey, OnServer(ServerKind::Valkey));
    session_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod store {
    use super::*;
    store_suite!(embedded, Embedded);
    store_suite!(file, EmbeddedFile);
    store_suite!(redis, OnServer(ServerKind::Redis));
    store_suite!(valkey, OnServer(ServerKind::Valkey));
    store_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod vote {
    use super::*;
    vote_suite!(embedded, Embedded);
    vote_suite!(file, EmbeddedFile);
    vote_suite!(redis, OnServer(ServerKind::Redis));
    vote_suite!(valkey, OnServer(ServerKind::Valkey));
    vote_suite!(cluster, OnServer(ServerKind::RedisCluster));
}
