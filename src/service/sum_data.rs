//! SumData: counts and adds, in lock-step.
//!
//! In: numbers. Out: for each the next counter, and what the numbers add up to.

use crate::call::{Sender, Streaming};
use crate::proto::StreamSumData;
use crate::status::Status;

pub(super) async fn sum_data(
    rx: &mut Streaming<StreamSumData>,
    tx: &mut Sender<StreamSumData>,
) -> Result<(), Status> {
    let mut sums = Sums::default();
    // The client waits for it before it sends anything.
    tx.send(&StreamSumData::default()).await?;
    while let Some(message) = rx.message().await? {
        let answer = sums.add(message.number)?;
        tracing::debug!(
            res = message.number,
            i = answer.number - 1,
            sum = answer.sum,
            "summed"
        );
        tx.send(&answer).await?;
    }
    Ok(())
}

/// The counter that was sent last, and all numbers received.
#[derive(Debug, Default)]
struct Sums {
    counter: i32,
    total: i64,
}

impl Sums {
    /// The answer to `number`.
    fn add(&mut self, number: i32) -> Result<StreamSumData, Status> {
        // Two of 32 bits: never too large for 64.
        let sum = i64::from(self.counter) + i64::from(number);
        let Some(total) = self.total.checked_add(i64::from(number)) else {
            return Err(Status::out_of_range(format!(
                "the total overflows: {} + {number} is no int64",
                self.total
            )));
        };
        let Some(counter) = self.counter.checked_add(1) else {
            return Err(Status::out_of_range(format!(
                "the counter overflows: {} was the last int32",
                self.counter
            )));
        };
        *self = Self { counter, total };
        Ok(StreamSumData {
            number: counter,
            sum,
            total,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    fn answer(number: i32, sum: i64, total: i64) -> StreamSumData {
        StreamSumData { number, sum, total }
    }

    #[test]
    fn each_number_gets_the_next_counter_the_sum_with_the_last_and_the_total() {
        let mut sums = Sums::default();
        assert_eq!(sums.add(5).unwrap(), answer(1, 5, 5));
        assert_eq!(sums.add(-7).unwrap(), answer(2, -6, -2));
        assert_eq!(
            sums.add(i32::MAX).unwrap(),
            answer(3, 2_147_483_649, 2_147_483_645)
        );
        assert_eq!(sums.add(i32::MIN).unwrap(), answer(4, -2_147_483_645, -3));
    }

    #[test]
    fn an_overflow_is_out_of_range_and_the_last_value_before_it_is_not() {
        for (total, fits, too_far) in [(i64::MAX - 1, 1, 1), (i64::MIN + 1, -1, -1)] {
            let mut sums = Sums { counter: 0, total };
            sums.add(fits).unwrap();
            assert_eq!(sums.add(too_far).unwrap_err().code(), Code::OutOfRange);
        }
        let mut sums = Sums {
            counter: i32::MAX - 1,
            total: 0,
        };
        assert_eq!(sums.add(0).unwrap().number, i32::MAX);
        assert_eq!(sums.add(0).unwrap_err().code(), Code::OutOfRange);
    }
}
