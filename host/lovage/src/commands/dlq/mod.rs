//! `lovage dlq`: what was kept, and what is to become of it.
//!
//! Nothing here is lost by being interrupted: each message is put back or deleted in a step of its
//! own, so running the same command again goes on where the last one stopped.

mod change;
mod choice;
mod show;

use std::collections::VecDeque;
use std::process::ExitCode;

use lovage_core::ports::PortError;

use crate::cli::{DlqCommand, DlqLsArguments, DlqShowArguments};
use crate::config::Config;
use crate::wiring::Keeping;

/// Runs one of the commands. Exits with 1 when something that was named is not there, or nobody has
/// confirmed a change.
///
/// # Errors
/// When the command cannot be meant, or the broker cannot be reached.
pub(crate) fn run(command: &DlqCommand) -> anyhow::Result<ExitCode> {
    let done = match command {
        DlqCommand::Ls(arguments) => list(arguments),
        DlqCommand::Show(arguments) => one(arguments),
        DlqCommand::Replay(arguments) => change::replay(arguments),
        DlqCommand::Purge(arguments) => change::purge(arguments),
    };
    done.map_err(|error| {
        if error.chain().any(<dyn std::error::Error>::is::<PortError>) {
            anyhow::anyhow!(
                "{error:#}\nrun `lovage doctor` with the same broker to see what it needs"
            )
        } else {
            error
        }
    })
}

fn list(arguments: &DlqLsArguments) -> anyhow::Result<ExitCode> {
    let filter = choice::filter(&arguments.filter)?;
    let config = Config::read(&super::layers(&arguments.common)?)?;
    super::block_on(async {
        let keeping = Keeping::open(&config).await?;
        let (mut count, mut newest) = (0_usize, VecDeque::new());
        choice::each(&*keeping.kept, &filter, |entry| {
            count += 1;
            newest.push_back(entry);
            if newest.len() > arguments.limit {
                newest.pop_front();
            }
        })
        .await?;
        keeping.leave().await;
        if arguments.json {
            let messages: Vec<_> = newest.iter().map(show::document).collect();
            let all = serde_json::json!({"count": count, "messages": messages});
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            if !newest.is_empty() {
                println!("{}", show::table(&newest));
            }
            match count.saturating_sub(newest.len()) {
                0 => println!("{count} kept"),
                more => println!("{count} kept; {more} older ones are not shown, see --limit"),
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn one(arguments: &DlqShowArguments) -> anyhow::Result<ExitCode> {
    let config = Config::read(&super::layers(&arguments.common)?)?;
    super::block_on(async {
        let keeping = Keeping::open(&config).await?;
        // A call that was replayed and failed again was kept anew: the last one is meant.
        let found = choice::named(&*keeping.kept, &arguments.id).await?.pop();
        let whole = match &found {
            Some(entry) => keeping.kept.get(&entry.id).await?,
            None => None,
        };
        keeping.leave().await;
        let Some((entry, message)) = whole else { return Ok(choice::tell_missing(&arguments.id)) };
        if arguments.json {
            let all = show::whole_document(&entry, &message);
            println!("{}", serde_json::to_string_pretty(&all)?);
        } else {
            print!("{}", show::page(&entry, &message));
        }
        Ok(ExitCode::SUCCESS)
    })
}
