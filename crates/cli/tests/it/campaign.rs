//! What the campaigns that kill a process again and again have in common.

use crate::dice::Dice;

/// How often a process is killed at work where `SIGNET_CRASH_ROUNDS` does not say.
const ROUNDS: u64 = 4;

/// A process under work that is killed at a random moment and started again, round after round.
pub(crate) trait Campaign: Sized {
    /// Which process is killed.
    const OF: &'static str;

    /// Starts everything.
    async fn start(dice: Dice) -> Self;

    /// Kills it at work, perhaps again while it starts, starts it, and looks at what is left.
    async fn round(&mut self, number: u64);

    /// What happened so far, in one line.
    fn figures(&self) -> String;

    /// Stops everything in order, and looks at all of it once more.
    async fn finish(self);
}

/// Runs as many rounds as are wanted.
pub(crate) fn run<C: Campaign>() {
    let rounds = std::env::var("SIGNET_CRASH_ROUNDS").map_or(ROUNDS, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut campaign = C::start(Dice::seeded(C::OF)).await;
        for round in 0..rounds {
            campaign.round(round).await;
            if rounds > ROUNDS && (round + 1) % 10 == 0 {
                let (of, figures) = (C::OF, campaign.figures());
                println!("{of}: round {} of {rounds}: {figures}", round + 1);
            }
        }
        campaign.finish().await;
    });
}

/// Lets a moment pass that is too short for a timer, so that a kill falls anywhere between two answers.
pub(crate) fn pass_a_moment(dice: &mut Dice) {
    for _ in 0..dice.below(3_000_000) {
        core::hint::spin_loop();
    }
}
