//! The conformance suites of queues: one test per clause and home.

use quorate_testing::harness::{Embedded, EmbeddedFile, OnServer};
use quorate_testing::servers::ServerKind;
use quorate_testing::{queue_suite, work_suite};

mod queue {
    use super::*;
    queue_suite!(embedded, Embedded);
    queue_suite!(file, EmbeddedFile);
    queue_suite!(redis, OnServer(ServerKind::Redis));
    queue_suite!(valkey, OnServer(ServerKind::Valkey));
    queue_suite!(cluster, OnServer(ServerKind::RedisCluster));
}

mod work {
    use super::*;
    work_suite!(embedded, Embedded);
    work_suite!(file, EmbeddedFile);
    work_suite!(redis, OnServer(ServerKind::Redis));
    work_suite!(valkey, OnServer(ServerKind::Valkey));
    work_suite!(cluster, OnServer(ServerKind::RedisCluster));
}
