//! What a server may send in answer to one unary call, row by row.
//!
//! Each row is a connection of its own: the call ends as the row says, and then another call is answered as it should be, on
//! the same connection unless the row says that it is over.

mod frames;
mod resets;
mod statuses;

use std::borrow::Cow;

use streamway::Code;

use super::{Server, assert_good, case, unary};
use crate::raw::frame::Frame;

/// A response to the call on a stream.
type Response = Box<dyn Fn(u32) -> Vec<Frame> + Send + Sync>;

struct Row {
    rule: &'static str,
    what: Cow<'static, str>,
    response: Response,
    /// `Ok` is the one message.
    outcome: Result<(), Code>,
    /// Somewhere in the status's text.
    text: &'static str,
    connection: After,
}

enum After {
    GoesOn,
    Ends,
}

impl Row {
    fn new(
        rule: &'static str,
        what: impl Into<Cow<'static, str>>,
        outcome: Result<(), Code>,
        response: impl Fn(u32) -> Vec<Frame> + Send + Sync + 'static,
    ) -> Self {
        Self {
            rule,
            what: what.into(),
            response: Box::new(response),
            outcome,
            text: "",
            connection: After::GoesOn,
        }
    }

    fn saying(mut self, text: &'static str) -> Self {
        self.text = text;
        self
    }

    fn ending_the_connection(mut self) -> Self {
        self.connection = After::Ends;
        self
    }

    async fn run(self) {
        let (server, channel) = Server::bind().await;
        let serving = async {
            let mut connection = server.accept(&[]).await;
            let call = connection.request().await.expect("a call");
            connection.send(&(self.response)(call.stream)).await;
            if let After::Ends = self.connection {
                connection.ended().await;
                connection = server.accept(&[]).await;
            }
            let call = connection.request().await;
            let call = call.expect("the next call, and the connection to be there for it");
            connection.answer(call.stream).await;
            connection
        };
        let calling = async {
            match (self.outcome, unary(&channel).send().await) {
                (Ok(()), outcome) => assert_good(outcome),
                (Err(code), outcome) => {
                    let status = outcome.expect_err("the server did wrong");
                    assert_eq!(status.code(), code, "{status}");
                    let text = status.message();
                    assert!(text.contains(self.text), "{text:?} without {:?}", self.text);
                }
            }
            assert_good(unary(&channel).send().await);
        };
        let _ = tokio::join!(serving, calling);
    }
}

#[tokio::test]
async fn every_answer_ends_its_own_call_as_its_rule_says() {
    let mut wrong = Vec::new();
    for row in [statuses::rows(), frames::rows(), resets::rows()]
        .into_iter()
        .flatten()
    {
        let name = format!("{}: {}", row.rule, row.what);
        // A task each, so that one that fails does not hide the others.
        if let Err(error) = tokio::spawn(case(name.clone(), row.run())).await {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
