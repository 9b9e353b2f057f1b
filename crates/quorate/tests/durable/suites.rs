//! The conformance suite of durable runs: one test per clause and home.

use quorate_testing::durable_suite;
use quorate_testing::harness::{Embedded, EmbeddedFile, OnServer};
use quorate_testing::servers::ServerKind;

durable_suite!(embedded, Embedded);
durable_suite!(file, EmbeddedFile);
durable_suite!(redis, OnServer(ServerKind::Redis));
durable_suite!(valkey, OnServer(ServerKind::Valkey));
durable_suite!(cluster, OnServer(ServerKind::RedisCluster));
