//! Cron jobs through everything that can happen to their occurrences, under a simulated clock: overlap
//! and catch-up policies at changes of the clock both ways, pauses, freezes, clocks that jump. The
//! outcomes are those that `docs/cron.md` promises.

use jiff::SignedDuration;

use crate::domain::action::{Action, ActionEnd, ActionKey, Switch};
use crate::domain::change::Change;
use crate::domain::cron::CronSchedule;
use crate::domain::intent::{Declared, Intent, RunOverrides};
use crate::domain::rollout::Actor;
use crate::domain::workload::{CatchUp, CatchUpPolicy, CronJobSpec, OverlapPolicy, WorkloadSpec};
use crate::domain::world::{NextRun, RunOutcome};
use crate::scheduling::simulation::{Simulation, cron, name, pool_spec, seconds};

const OVERLAPS: [OverlapPolicy; 4] =
    [OverlapPolicy::Forbid, OverlapPolicy::Allow, OverlapPolicy::Replace, OverlapPolicy::Queue];
/// A name, when the simulation starts, the planned times in UTC.
const CLOCK_CHANGES: [(&str, &[&str]); 2] = [
    ("2026-03-28T23:50:00Z", &["00:00", "00:30", "01:00", "01:30"]),
    ("2026-10-24T22:50:00Z", &["23:00", "23:30", "00:00", "00:30", "02:00", "02:30"]),
];

fn spec(command: &str, expression: &str, zone: &str, overlap: OverlapPolicy) -> CronJobSpec {
    let WorkloadSpec::CronJob(mut spec) = cron(command, "* * * * *", overlap) else {
        unreachable!("a cron job")
    };
    spec.schedule = CronSchedule::new(expression, zone).expect("a schedule");
    *spec
}

fn started(start: &str, spec: CronJobSpec) -> Simulation {
    let mut sim = Simulation::starting(start);
    sim.pool("small", pool_spec(3, 5));
    sim.run_for(7);
    sim.apply("tidy", WorkloadSpec::CronJob(Box::new(spec)));
    sim
}

fn minutes(sim: &mut Simulation, count: i64) {
    for _ in 0..count {
        sim.tick(seconds(60));
    }
}

/// Each occurrence with its outcome: `00:30 skipped`.
fn outcomes(sim: &Simulation) -> Vec<String> {
    let word = |(_, ends): &(u32, Vec<RunOutcome>)| {
        assert!(ends.len() <= 1);
        ends.first().map_or("active", RunOutcome::as_str)
    };
    sim.runs.iter().map(|(key, run)| format!("{} {}", key.at.strftime("%H:%M"), word(run))).collect()
}

fn expected(times: &[&str], outcomes: &[&str]) -> Vec<String> {
    assert_eq!(times.len(), outcomes.len());
    times.iter().zip(outcomes).map(|(time, outcome)| format!("{time} {outcome}")).collect()
}

/// Every half hour from one to half past three in Berlin, and each run takes 40 minutes.
fn nightly(overlap: OverlapPolicy) -> CronJobSpec {
    spec("work 2400", "0,30 1-3 * * *", "Europe/Berlin", overlap)
}

#[test]
fn overlapping_runs_at_both_changes_of_the_clock() {
    let (ok, skip, gone) = ("succeeded", "skipped", "cancelled");
    for overlap in OVERLAPS {
        let [spring, autumn]: [&[&str]; 2] = match overlap {
            OverlapPolicy::Forbid => [&[ok, skip, ok, skip], &[ok, skip, ok, skip, ok, skip]],
            OverlapPolicy::Allow | OverlapPolicy::Queue => [&[ok; 4], &[ok; 6]],
            OverlapPolicy::Replace => [&[gone, gone, gone, ok], &[gone, gone, gone, ok, gone, ok]],
        };
        for ((start, times), ends) in CLOCK_CHANGES.into_iter().zip([spring, autumn]) {
            let mut sim = started(start, nightly(overlap));
            let mut most = 0;
            for _ in 0..400 {
                minutes(&mut sim, 1);
                most = most.max(sim.world.tasks_of(&name("tidy")).count());
            }
            assert_eq!(outcomes(&sim), expected(times, ends), "{overlap:?} from {start}");
            assert_eq!(most, if overlap == OverlapPolicy::Allow { 2 } else { 1 }, "{overlap:?} at once");
        }
    }
}

#[test]
fn an_engine_that_was_down_over_both_changes_of_the_clock() {
    let (ok, miss) = ("succeeded", "missed");
    let hour = SignedDuration::from_hours(1);
    let policy = |policy, max, deadline| CatchUp { policy, max, deadline };
    // The engine comes back ten minutes after the last occurrence.
    let cases: [(CatchUp, [&[&str]; 2]); 6] = [
        (policy(CatchUpPolicy::Skip, 10, hour), [&[miss; 4], &[miss; 6]]),
        (
            policy(CatchUpPolicy::Once, 10, hour),
            [&[miss, miss, miss, ok], &[miss, miss, miss, miss, miss, ok]],
        ),
        (policy(CatchUpPolicy::Once, 10, seconds(300)), [&[miss; 4], &[miss; 6]]),
        (policy(CatchUpPolicy::All, 10, hour), [&[miss, miss, ok, ok], &[miss, miss, miss, miss, ok, ok]]),
        (policy(CatchUpPolicy::All, 3, hour * 12), [&[miss, ok, ok, ok], &[miss, miss, miss, ok, ok, ok]]),
        (policy(CatchUpPolicy::All, 10, hour * 12), [&[ok; 4], &[ok; 6]]),
    ];
    for overlap in OVERLAPS {
        for (catch_up, ends) in &cases {
            for (((start, times), ends), down) in CLOCK_CHANGES.into_iter().zip(ends).zip([110, 230]) {
                let mut sim = started(start, CronJobSpec { catch_up: *catch_up, ..nightly(overlap) });
                sim.tick(seconds(down * 60));
                let mut most = 0;
                for _ in 0..300 {
                    minutes(&mut sim, 1);
                    most = most.max(sim.world.tasks_of(&name("tidy")).count());
                }
                let about = format!("{overlap:?}, {catch_up:?} from {start}\n{}", sim.tail());
                assert_eq!(outcomes(&sim), expected(times, ends), "{about}");
                let all = ends.iter().filter(|end| **end == ok).count();
                let at_once = if overlap == OverlapPolicy::Allow { all } else { all.min(1) };
                assert_eq!(most, at_once, "{about}");
            }
        }
    }
}

#[test]
fn what_is_due_in_time_when_the_engine_comes_back_starts_under_each_policy() {
    for (policy, ends) in [
        (CatchUpPolicy::Skip, ["missed", "missed", "succeeded"]),
        (CatchUpPolicy::Once, ["missed", "missed", "succeeded"]),
        (CatchUpPolicy::All, ["succeeded", "succeeded", "succeeded"]),
    ] {
        let catch_up = CatchUp { policy, ..CatchUp::default() };
        let tidy = spec("work 5", "*/10 * * * *", "UTC", OverlapPolicy::Forbid);
        let mut sim = started("2026-11-22T10:01:00Z", CronJobSpec { catch_up, ..tidy });
        sim.tick(seconds(29 * 60 + 10));
        sim.run_for(60);
        assert_eq!(outcomes(&sim), expected(&["10:10", "10:20", "10:30"], &ends), "{policy:?}");
    }
}

#[test]
fn a_queue_is_bounded() {
    let tidy = spec("work 600", "* * * * *", "UTC", OverlapPolicy::Queue);
    let mut sim = started("2026-11-22T10:00:10Z", CronJobSpec { queue_max: 2, ..tidy });
    minutes(&mut sim, 5);
    let ends = ["active", "active", "active", "skipped", "skipped"];
    assert_eq!(outcomes(&sim), expected(&["10:01", "10:02", "10:03", "10:04", "10:05"], &ends));
    sim.assert_says("the queue is full: 2 runs wait, at most 2");
    assert_eq!(sim.world.tasks.len(), 1);
}

fn begin(sim: &mut Simulation, key: ActionKey) {
    let action = Action::new(key, Actor::User("ann".to_owned()), "the disk is being changed", sim.now);
    sim.change(Change::ActionBegun { action: Box::new(action) });
}

#[test]
fn what_falls_in_a_pause_or_a_freeze_is_skipped_for_good() {
    for (key, words) in [
        (ActionKey::Pause(name("tidy")), "the job is paused by ann since"),
        (ActionKey::Freeze(Switch::Cron), "cron is frozen by ann since"),
    ] {
        let catch_up = CatchUp { policy: CatchUpPolicy::All, ..CatchUp::default() };
        let tidy = spec("work 5", "* * * * *", "UTC", OverlapPolicy::Forbid);
        let mut sim = started("2026-11-22T10:00:10Z", CronJobSpec { catch_up, ..tidy });
        begin(&mut sim, key.clone());
        minutes(&mut sim, 2);
        sim.change(Change::ActionEnded { action: key.clone(), end: ActionEnd::Cancelled });
        minutes(&mut sim, 2);
        let ends = ["skipped", "skipped", "succeeded", "active"];
        assert_eq!(outcomes(&sim), expected(&["10:01", "10:02", "10:03", "10:04"], &ends), "{key}");
        sim.assert_says(words);
        sim.assert_says("the disk is being changed");
    }
}

#[test]
fn a_paused_job_is_not_run_by_hand_and_one_that_is_frozen_is() {
    let tidy = spec("work 5", "0 0 * * *", "UTC", OverlapPolicy::Forbid);
    let mut sim = started("2026-11-22T10:00:10Z", tidy);
    let run = Intent::Run { workload: name("tidy"), overrides: Box::new(RunOverrides::default()) };
    begin(&mut sim, ActionKey::Pause(name("tidy")));
    assert!(sim.ask("", &run).expect_err("refused").contains("resume it first"));
    sim.change(Change::ActionEnded { action: ActionKey::Pause(name("tidy")), end: ActionEnd::Cancelled });
    begin(&mut sim, ActionKey::Freeze(Switch::Cron));
    sim.ask("", &run).expect("a run");
    sim.run_for(10);
    assert_eq!(outcomes(&sim), ["10:00 succeeded"]);
}

fn declared(spec: CronJobSpec) -> Intent {
    let spec = WorkloadSpec::CronJob(Box::new(spec));
    let mut declared = Declared::default();
    declared.workloads.insert(name("tidy"), spec);
    Intent::Apply(Box::new(declared))
}

#[test]
fn what_was_due_before_a_schedule_changes_or_goes_is_accounted_for() {
    let tidy = || spec("work 5", "* * * * *", "UTC", OverlapPolicy::Forbid);
    let mut sim = started("2026-11-22T10:00:10Z", tidy());
    sim.now += seconds(130);
    let hourly = spec("work 5", "0 * * * *", "UTC", OverlapPolicy::Forbid);
    sim.ask("", &declared(hourly)).expect("applied");
    minutes(&mut sim, 2);
    assert_eq!(outcomes(&sim), ["10:01 missed", "10:02 missed"]);
    let ends: Vec<&RunOutcome> = sim.runs.values().flat_map(|(_, ends)| ends).collect();
    assert!(format!("{ends:?}").contains("its schedule was changed before it could start"), "{ends:?}");
    sim.now += seconds(3600);
    sim.ask("", &Intent::Delete(name("tidy"))).expect("deleted");
    minutes(&mut sim, 2);
    assert_eq!(outcomes(&sim), ["10:01 missed", "10:02 missed", "11:00 missed"]);
    assert!(sim.world.workloads.is_empty());
}

#[test]
fn a_clock_that_jumps_a_day_either_way_doubles_nothing() {
    let day = SignedDuration::from_hours(24);
    let tidy = spec("work 5", "0 * * * *", "UTC", OverlapPolicy::Allow);
    let mut sim = started("2026-11-22T10:50:00Z", tidy);
    minutes(&mut sim, 15);
    assert_eq!(outcomes(&sim), ["11:00 succeeded"]);
    // A day back: the hours that come again have been.
    sim.now -= day;
    minutes(&mut sim, 23 * 60);
    assert_eq!(sim.runs.len(), 1, "{}", sim.tail());
    minutes(&mut sim, 2 * 60);
    assert_eq!(outcomes(&sim), ["11:00 succeeded", "12:00 succeeded"]);
    // A day on: what lay between is accounted for, once.
    sim.tick(day);
    assert_eq!(sim.runs.len(), 2 + 24);
    let missed = sim.runs.values().filter(|(_, ends)| matches!(ends[..], [RunOutcome::Missed { .. }]));
    assert_eq!(missed.count(), 24);
    sim.now -= day;
    minutes(&mut sim, 25 * 60);
    assert_eq!(sim.runs.len(), 2 + 24 + 1);
    assert!(sim.runs.values().all(|(opened, _)| *opened == 1));
}

#[test]
fn of_a_long_outage_the_newest_are_recorded_and_the_others_counted() {
    let tidy = spec("work 5", "* * * * *", "UTC", OverlapPolicy::Forbid);
    let mut sim = started("2026-11-22T10:00:00Z", tidy);
    sim.tick(SignedDuration::from_hours(24));
    assert_eq!(sim.runs.len(), 101);
    let counts: Vec<u64> = sim.occurrences.values().copied().collect();
    assert_eq!(counts.iter().sum::<u64>(), 1440);
    assert_eq!(counts[0], 1340);
    sim.assert_says("1340 occurrences from 2026-11-22T10:01:00Z to 2026-11-23T08:20:00Z");
}

#[test]
fn a_schedule_without_more_occurrences_is_finished() {
    let rule = "DTSTART:20261122T100500 RRULE:FREQ=MINUTELY;INTERVAL=5;COUNT=3";
    let mut sim = started("2026-11-22T10:00:00Z", spec("work 5", rule, "UTC", OverlapPolicy::Forbid));
    let next = |sim: &Simulation| sim.world.workloads[&name("tidy")].jobs.next;
    assert!(matches!(next(&sim), NextRun::At { .. }));
    minutes(&mut sim, 60);
    assert_eq!(outcomes(&sim), ["10:05 succeeded", "10:10 succeeded", "10:15 succeeded"]);
    assert_eq!(next(&sim), NextRun::Finished);
}

#[test]
fn jitter_puts_starts_off_and_names_stay() {
    let tidy = spec("work 5", "*/10 * * * *", "UTC", OverlapPolicy::Forbid);
    let mut sim = started(
        "2026-11-22T10:01:00Z",
        CronJobSpec { jitter: seconds(300), start_deadline: seconds(120), ..tidy },
    );
    minutes(&mut sim, 60);
    let times = ["10:10", "10:20", "10:30", "10:40", "10:50", "11:00"];
    let found = outcomes(&sim);
    assert!(found.len() >= 5 && found.iter().zip(times).all(|(found, time)| found.starts_with(time)));
    let late = |run: &crate::domain::world::Run| {
        run.started_at.expect("a start").duration_since(run.key.at).as_secs()
    };
    let late: Vec<i64> = sim.world.runs.values().map(late).collect();
    assert!(
        late.iter().all(|late| (0..=360).contains(late)) && late.iter().any(|late| *late > 60),
        "{late:?}"
    );
}
