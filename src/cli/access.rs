//! `loadline token`, `loadline whoami` and `loadline audit`: who may do what, and who did.

use clap::{Args, Subcommand};
use jiff::SignedDuration;
use jiff::Timestamp;

use crate::api::answers::NewTokenDto;
use crate::api::client::Client;
use crate::api::requests::TokenRequest;
use crate::cli::change::{Message, duration, say_changed, whole_seconds};
use crate::cli::output::{
    Output, age, now, or_dash, plain, say, say_error, say_json, say_listing, table, time,
};

/// `loadline token`
#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    action: TokenAction,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// Make a token. It is printed once, alone on standard output, and kept nowhere.
    Create {
        /// Whose it is: the name in every record of what it does.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_parser = ["viewer", "developer", "operator", "finance"])]
        role: String,
        /// The team whose workloads a developer may change.
        #[arg(long, required_if_eq("role", "developer"))]
        team: Option<String>,
        /// It is valid for this long, for example 30d; for good where absent.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        expires: Option<SignedDuration>,
        #[command(flatten)]
        why: Message,
    },
    /// List tokens, without what proves them.
    List,
    /// Make a token invalid.
    Revoke {
        /// Its number.
        id: u64,
        #[command(flatten)]
        why: Message,
    },
}

/// `loadline whoami`
#[derive(Debug, Args)]
pub(super) struct WhoamiArgs {}

/// `loadline audit`
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
}

pub(super) async fn token(client: &Client, output: Output, args: TokenArgs) -> anyhow::Result<()> {
    match args.action {
        TokenAction::Create { name, role, team, expires, why } => {
            let for_seconds = expires.map(whole_seconds);
            let body = TokenRequest { name, role, team, for_seconds, message: why.message };
            created(output, &client.create_token(&body).await?)
        }
        TokenAction::List => list(client, output).await,
        TokenAction::Revoke { id, why } => say_changed(output, &client.revoke_token(id, &why.message).await?),
    }
}

fn created(output: Output, new: &NewTokenDto) -> anyhow::Result<()> {
    if output == Output::Json {
        return say_json(new);
    }
    say(&new.secret)?;
    say_error(&format!("token {} of {} is not shown again", new.token.id, new.token.name));
    Ok(())
}

async fn list(client: &Client, output: Output) -> anyhow::Result<()> {
    let tokens = client.tokens().await?;
    say_listing(output, &tokens, "there are no tokens", || {
        let now = now();
        let ago = |at: Option<Timestamp>| or_dash(at, |at| age(at, now));
        let mut rows = table(&["id", "name", "role", "team", "made by", "age", "expires", "used", "revoked"]);
        for token in &tokens {
            rows.add_row(vec![
                token.id.to_string(),
                token.name.clone(),
                token.role.clone(),
                or_dash(token.team.clone(), |team| team),
                token.created_by.clone(),
                age(token.created_at, now),
                ago(token.expires_at),
                ago(token.last_used_at),
                ago(token.revoked_at),
            ]);
        }
        rows
    })
}

pub(super) async fn whoami(client: &Client, output: Output, _args: WhoamiArgs) -> anyhow::Result<()> {
    let who = client.whoami().await?;
    if output == Output::Json {
        return say_json(&who);
    }
    let team = who.team.map(|team| format!(" of team {team}")).unwrap_or_default();
    say(&format!("{}, {}{team}, at {}", who.name, who.role, client.address()))?;
    if !who.tokens_required {
        say("this engine asks for no tokens: everyone who reaches it may do everything")?;
    }
    Ok(())
}

pub(super) async fn audit(client: &Client, output: Output, args: AuditArgs) -> anyhow::Result<()> {
    let writes = client.audit(args.limit).await?;
    say_listing(output, &writes, "nothing was written yet", || {
        let mut rows = table(&["at", "by", "role", "from", "call", "status", "message"]);
        for write in &writes {
            rows.add_row(vec![
                time(write.at),
                or_dash(write.by.clone(), |by| by),
                or_dash(write.role.clone(), |role| role),
                write.address.clone(),
                format!("{} {}", write.method, plain(&write.path)),
                write.status.to_string(),
                plain(&write.message),
            ]);
        }
        rows
    })
}
