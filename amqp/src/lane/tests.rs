use coney_protocol::property::Properties;
use coney_protocol::topology::Route;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::*;
use crate::builder::BrokerBuilder;
use crate::publisher::Publication;

#[tokio::test]
async fn a_message_let_in_before_the_end_gets_a_verdict_after_it() {
    // nobody listens there: what is published waits for its deadline
    let builder = BrokerBuilder::new("amqp://127.0.0.1:1");
    let settings = Arc::new(builder.settings().expect("valid"));
    let pool = Pool::new(&settings, &TaskTracker::new()).expect("pool");
    let (sender, queue) = mpsc::channel(4);
    let stop = CancellationToken::new();
    let lane = tokio::spawn(Lane::new(settings, pool, queue, stop.clone()).run());
    let permit = sender.reserve().await.expect("open");
    stop.cancel();
    sender.closed().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!lane.is_finished(), "a message may still come");
    let (answer, receipt) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_millis(100);
    let publication = Publication::new(Route::to_queue("q".to_owned()), Properties::default(), "x");
    permit.send(Job::new(publication, deadline, answer).expect("fits"));
    let verdict = timeout(Duration::from_secs(10), receipt).await;
    let error = verdict.expect("in time").expect("told").expect_err("late");
    assert!(
        matches!(error.kind(), PublishErrorKind::Closed { .. }),
        "{error:?}"
    );
    let ended = timeout(Duration::from_secs(10), lane).await;
    ended.expect("in time").expect("no panic");
}
