//! RabbitMQ is put to every promise, with classic and with quorum queues and over every store, and to
//! those that only it makes.
#![expect(clippy::unwrap_used, reason = "tests fail loudly")]

mod alone;
mod own;
mod rig;
mod waits;

mod classic_over_redis {
    use crate::rig::{Classic, InRedis, Rig};

    lovage_conformance::broker_suite!(Rig<Classic, InRedis>);
    lovage_conformance::kept_suite!(Rig<Classic, InRedis>);
}

mod quorum_over_sqlite {
    use crate::rig::{InSqlite, Quorum, Rig};

    lovage_conformance::broker_suite!(Rig<Quorum, InSqlite>);
    lovage_conformance::kept_suite!(Rig<Quorum, InSqlite>);
}

mod classic_over_postgres {
    use crate::rig::{Classic, InPostgres, Rig};

    lovage_conformance::kept_suite!(Rig<Classic, InPostgres>);
}
