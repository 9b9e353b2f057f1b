//! What the page shows, and what it refuses to.

use chat::{ROOM, Room, Said};
use quorate::Fleet;
use quorate_testing::proxy::Proxy;

use crate::support::{Person, beside_an_instance};

async fn emit(fleet: &Fleet, by: &str, text: &str, number: usize) {
    let said = Said {
        id: number.to_string(),
        text: text.to_owned(),
    };
    ROOM.emit(fleet, &Room::Lobby, &said)
        .source(by)
        .await
        .unwrap();
}

#[tokio::test]
async fn browser_shows_markup_as_text_and_says_what_is_wrong() {
    beside_an_instance(&Fleet::embedded(), async |address| {
        let ada = Person::arrive(address).await;
        ada.clicks("#join button").await;
        ada.until_text("#join-error", "name must have 1 to 24 characters")
            .await;
        ada.types("#name", "<b>Ada</b>\u{E007}").await;
        ada.until_connected().await;

        let attack = "<img src=x onerror=\"document.title='owned'\"><script>alert(1)</script>";
        ada.says(attack).await;
        ada.until_messages(1).await;
        assert_eq!(ada.messages().await, [attack]);
        ada.says(&format!("/title {attack}")).await;
        ada.until_text("#title", attack).await;
        let inside = "document.querySelectorAll('#house img, #house script, #house b').length";
        assert_eq!(ada.evaluate(inside).await, 0);
        assert_ne!(ada.evaluate("document.title").await, "owned");

        // The page knows one limit, the server all of them.
        let long = "document.querySelector('#text').value = 'x'.repeat(2001)";
        ada.evaluate(long).await;
        ada.clicks("#composer button").await;
        ada.until_text("#said-wrong", "at most 2000 characters")
            .await;
        let long = "document.querySelector('#text').value = '/title ' + 'x'.repeat(101)";
        ada.evaluate(long).await;
        ada.clicks("#composer button").await;
        ada.until_text(
            "#said-wrong",
            "title must have 0 to 100 characters, not 101",
        )
        .await;
        assert_eq!(ada.messages().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn browser_shows_a_message_once_and_says_that_older_ones_are_not_available() {
    let fleet = Fleet::embedded();
    beside_an_instance(&fleet, async |address| {
        let network = Proxy::start(address).await.unwrap();
        let ada = Person::join(network.addr(), "Ada").await;
        emit(&fleet, "Bob", "before", 0).await;
        // Sent twice, because nobody knew what became of it; and of another writer, who chose the same id.
        emit(&fleet, "Bob", "before", 0).await;
        emit(&fleet, "Cleo", "me too", 0).await;
        ada.until_messages(2).await;
        network.refuse().await;
        network.cut().await;
        ada.until_offline().await;
        // More than the room keeps.
        for number in 1..=1_100 {
            emit(&fleet, "Bob", "while she was away", number).await;
        }
        network.heal().await.unwrap();
        ada.tries_now().await;
        ada.until_connected().await;
        ada.until_text("#messages .gap", "Older messages are not available")
            .await;
        emit(&fleet, "Bob", "after", 2_000).await;
        ada.until_messages(3).await;
        assert_eq!(ada.messages().await, ["before", "me too", "after"]);
    })
    .await;
}

#[tokio::test]
async fn browser_goes_from_room_to_room_and_sees_what_was_said_meanwhile() {
    let fleet = Fleet::embedded();
    beside_an_instance(&fleet, async |address| {
        let (ada, bob) = tokio::join!(Person::join(address, "Ada"), Person::join(address, "Bob"));
        ada.says("/title Where everybody arrives").await;
        bob.until_text("#title", "Where everybody arrives").await;
        ada.types("#text", "Well").await;
        bob.until_text("#typing", "Ada is writing").await;
        ada.says(", hello").await;
        bob.until_messages(1).await;
        bob.until("document.querySelector('#typing').textContent === ''")
            .await;
        let of_ada = ada.evaluate("document.querySelector('#typing').textContent");
        assert_eq!(of_ada.await, "");

        ada.until_here(&["Ada", "Bob"]).await;
        bob.clicks("[data-room=kitchen]").await;
        ada.until_here(&["Ada"]).await;
        bob.until_text("#room-name", "kitchen").await;
        assert!(bob.messages().await.is_empty());
        ada.says("Bob?").await;
        ada.until_messages(2).await;
        bob.clicks("[data-room=lobby]").await;
        bob.until_messages(2).await;
        assert_eq!(bob.messages().await, ["Well, hello", "Bob?"]);
        bob.until_text("#messages .divider.new", "New since").await;
        bob.until_text("#title", "Where everybody arrives").await;
    })
    .await;
}

#[tokio::test]
async fn browser_sees_a_report_progress_and_can_cancel_it() {
    let fleet = Fleet::embedded();
    for number in 0..900 {
        let by = if number % 3 == 0 { "Bob" } else { "Cleo" };
        emit(&fleet, by, "three little words", number).await;
    }
    beside_an_instance(&fleet, async |address| {
        let ada = Person::join(address, "Ada").await;
        ada.says("/report").await;
        ada.until_text("#report-text", "messages read").await;
        ada.clicks("#report-cancel").await;
        ada.until_text("#report-text", "Cancelled").await;
        ada.clicks("#report-close").await;
        ada.clicks("#report").await;
        ada.until_text("#report-text", "900 messages, 2700 words")
            .await;
        let first = ada.text("#report-people li").await;
        assert!(first.contains("Cleo") && first.contains("600"), "{first}");
        ada.picture("report").await;
    })
    .await;
}

#[tokio::test]
async fn browser_page_is_light_or_dark_and_fits_a_narrow_window() {
    let fleet = Fleet::embedded();
    let talk = [
        ("Bob", "Good morning! The new build is out."),
        ("Bob", "All three instances restarted, nobody noticed."),
        ("Cleo", "I did not even see the banner 🎉"),
        (
            "Ada",
            "I was in the tunnel for two minutes. Everything was here when I came out.",
        ),
        ("Cleo", "That is the point of it.\nPositions, not luck."),
        ("Bob", "Lunch in the kitchen?"),
        ("Ada", "In ten minutes"),
        (
            "Ada",
            "Someone please write the report, I'll read https://example.com/a-very-long-address/that-has-to-break-somewhere?because=it-is-long&and=does-not-end meanwhile.",
        ),
    ];
    for (number, (by, text)) in talk.iter().enumerate() {
        emit(&fleet, by, text, number).await;
    }
    beside_an_instance(&fleet, async |address| {
        let ada = Person::arrive(address).await;
        ada.picture("door").await;
        ada.types("#name", "Ada\u{E007}").await;
        ada.until_messages(talk.len()).await;
        ada.says("/title Release day").await;
        ada.until_text("#title", "Release day").await;
        let bob = Person::join(address, "Bob").await;
        bob.types("#text", "On my").await;
        ada.until_text("#typing", "Bob is writing").await;
        ada.evaluate("document.documentElement.dataset.theme = 'light'")
            .await;
        ada.picture("light").await;
        ada.clicks("#theme").await;
        ada.picture("dark").await;
        ada.clicks("#theme").await;
        ada.browser.resize(390, 780).await.unwrap();
        ada.picture("narrow").await;
        let wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth";
        assert_eq!(ada.evaluate(wide).await, false);
    })
    .await;
}
