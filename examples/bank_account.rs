//! A bank whose transfers happen whole or not at all, and whose refused transfers are still counted.
//!
//! ```text
//! cargo run --example bank_account
//! curl localhost:8787/bank:deposit --json '{"account":"ann","amount":100}'
//! curl localhost:8787/bank:transfer --json '{"from":"ann","to":"bob","amount":30}'
//! curl localhost:8787/bank:transfer --json '{"from":"ann","to":"bob","amount":300}'   # Insufficient funds
//! curl localhost:8787/bank:balance --json '"bob"'
//! ```

use std::process::ExitCode;

use fleet::server::Builder;
use fleet::{Class, Error, List, RawValue, Server, Turn, json, read, unknown_method};
use serde::{Deserialize, Serialize};

/// Accounts are rows, so that a bank may have any number of them.
#[derive(Default, Serialize, Deserialize)]
struct Bank {
    refused: u64,
}

#[derive(Deserialize)]
struct Deposit {
    account: String,
    amount: u64,
}

#[derive(Deserialize)]
struct Transfer {
    from: String,
    to: String,
    amount: u64,
}

/// What became of a transfer.
#[derive(Serialize)]
struct Outcome {
    done: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl Class for Bank {
    const NAME: &'static str = "bank";

    fn call(&mut self, turn: &mut Turn<'_>, method: &str, payload: &RawValue) -> Result<Vec<u8>, Error> {
        match method {
            "deposit" => {
                let Deposit { account, amount } = read(payload)?;
                json(&credit(turn, &account, amount)?)
            }
            "transfer" => self.transfer(turn, &read(payload)?),
            "balance" => json(&balance(turn, &read::<String>(payload)?)?),
            "accounts" => json(&turn.list::<u64>(List::new().prefix("account "))?.items),
            other => Err(unknown_method(other)),
        }
    }
}

impl Bank {
    fn transfer(&mut self, turn: &mut Turn<'_>, transfer: &Transfer) -> Result<Vec<u8>, Error> {
        let done = turn.transaction(|turn| {
            credit(turn, &transfer.to, transfer.amount)?;
            debit(turn, &transfer.from, transfer.amount)
        });
        // What the transaction wrote is gone if it failed; what is done here stays. With `done?` the whole turn would fail.
        let outcome = match done {
            Ok(_) => Outcome { done: true, reason: None },
            Err(error) => {
                self.refused += 1;
                Outcome { done: false, reason: Some(error.message().to_owned()) }
            }
        };
        json(&outcome)
    }
}

fn key(account: &str) -> String {
    format!("account {account}")
}

fn balance(turn: &mut Turn<'_>, account: &str) -> Result<u64, Error> {
    Ok(turn.get(&key(account))?.unwrap_or(0))
}

fn credit(turn: &mut Turn<'_>, account: &str, amount: u64) -> Result<u64, Error> {
    let after = balance(turn, account)?.checked_add(amount).ok_or_else(|| Error::bad_request("Too much money"))?;
    turn.put(&key(account), &after)?;
    Ok(after)
}

fn debit(turn: &mut Turn<'_>, account: &str, amount: u64) -> Result<u64, Error> {
    let after = balance(turn, account)?.checked_sub(amount).ok_or_else(|| Error::conflict("Insufficient funds"))?;
    turn.put(&key(account), &after)?;
    Ok(after)
}

/// The server of this example.
pub fn server() -> Builder {
    Server::builder().class::<Bank>().route("/bank", "bank")
}

fn main() -> ExitCode {
    server().run()
}
