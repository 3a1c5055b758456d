//! Options of a queue.
#![allow(unused_variables)]
use coney::Queue;

#[derive(Queue)]
#[queue(name = "amq.emails")]
struct Reserved;

#[derive(Queue)]
#[queue(name = "")]
struct Empty;

#[derive(Queue)]
#[queue(name = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")]
struct TooLong;

#[derive(Queue)]
#[queue(name = emails, concurrency = "32", prefetch = 70000, delivery_limit = -1, bind = [1])]
struct WrongValues;

#[derive(Queue)]
#[queue(concurrency = 0, prefetch = 0, durable, name = "a", name = "b")]
struct ZeroUnknownTwice;

#[derive(Queue)]
#[queue(concurrency = 32, prefetch = 16)]
struct NeverFull;

#[derive(Queue)]
#[queue(bind())]
struct NoPattern;

#[derive(Queue)]
#[queue(bind("a.*", 1))]
struct NotAText;

#[derive(Queue)]
#[queue(bind = "")]
struct EmptyPattern;

#[derive(Queue)]
#[queue]
struct NoList;

#[derive(Queue)]
#[queue(name = "a")]
#[queue(concurrency = 1)]
struct TwoLists;

#[derive(Queue)]
struct Generic<T>(T);

fn main() {
    fn queue<Q: Queue>() {}
    queue::<Reserved>();
    queue::<WrongValues>();
}
