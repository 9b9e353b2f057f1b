//! What happens between the moment in which a client becomes a member and the one in which it knows.

use super::super::fake::{FakeSource, at, client, hub, message, page};
use super::*;

#[tokio::test]
async fn who_falls_behind_while_it_is_seated_is_caught_up_once() {
    let hub = hub(|hub| hub.buffer(1));
    let source = FakeSource::new("room", at(0), |_, _| Ok(page(Vec::new(), at(0))));
    let client = client(&hub);
    let source: Arc<dyn RoomSource> = source;
    let Ok(Reserved::New(pending, _)) = client.reserve(&*source, false) else {
        panic!("there is no subscription yet");
    };
    let interest = hub.shared.rooms.enter(&source);
    interest.opened().await.unwrap();
    let number = pending.number;
    let seat = interest.sit(&client, number, |next, position| {
        let welcome = Welcome::Silent;
        let room = (next, position);
        let welcomed = client.welcome(number, &Start::Now, false, room, &welcome);
        welcomed.is_some()
    });
    // More than there is room for, before it has its seat.
    let events = [1, 2].map(|offset| Arc::new(message(offset, 10)));
    client.deliver(number, source.options(), u64::MAX / 2, &events);
    pending.done(seat.unwrap()).unwrap();
    assert_eq!(client.take_lagging().len(), 1);
}
