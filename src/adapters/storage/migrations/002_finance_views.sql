-- Views for people who ask in SQL. An interval counts for the hour in which it ends. Only measured
-- intervals count: a gap adds nothing to what was used nor to what was requested.

CREATE VIEW usage_hourly AS
SELECT
    workload,
    strftime('%Y-%m-%dT%H:00:00Z', at_us / 1000000, 'unixepoch') AS hour,
    count(DISTINCT task_number) AS tasks,
    count(*) AS samples,
    sum(interval_seconds) / 3600.0 AS measured_hours,
    sum(cpu_cores * interval_seconds) / 3600.0 AS used_core_hours,
    sum(cpu_request / 1000.0 * interval_seconds) / 3600.0 AS requested_core_hours,
    sum(memory / 1073741824.0 * interval_seconds) / 3600.0 AS used_gib_hours,
    sum(memory_request / 1073741824.0 * interval_seconds) / 3600.0 AS requested_gib_hours,
    max(cpu_cores) AS max_cores,
    max(memory) AS max_memory,
    sum(throttled_share * interval_seconds)
        / sum(CASE WHEN throttled_share IS NOT NULL THEN interval_seconds END) AS throttled_share,
    sum(oom_kills) AS oom_kills
FROM usage
GROUP BY workload, at_us / 3600000000;

CREATE VIEW load_hourly AS
SELECT
    workload,
    strftime('%Y-%m-%dT%H:00:00Z', at_us / 1000000, 'unixepoch') AS hour,
    count(*) AS samples,
    avg(requests_per_second) AS requests_per_second,
    max(requests_per_second) AS max_requests_per_second,
    avg(errors_per_second) AS errors_per_second,
    max(latency_p95) AS max_latency_p95,
    avg(ready) AS ready
FROM load
GROUP BY workload, at_us / 3600000000;

-- Who owned a workload last: as it stands, or for one that is gone, as it was last declared.
CREATE VIEW workload_owner AS
WITH declared (workload, spec) AS (
    SELECT name, json_extract(body, '$.spec') FROM workload
    UNION ALL
    SELECT workload, json_extract(body, '$.spec') FROM event
    WHERE id IN (SELECT max(id) FROM event WHERE change = 'workload_applied' GROUP BY workload)
        AND workload NOT IN (SELECT name FROM workload)
)
SELECT
    workload,
    coalesce(json_extract(spec, '$.service.owner.team'), json_extract(spec, '$.cron_job.owner.team'),
        json_extract(spec, '$.job.owner.team')) AS team,
    coalesce(json_extract(spec, '$.service.owner.cost_centre'),
        json_extract(spec, '$.cron_job.owner.cost_centre'),
        json_extract(spec, '$.job.owner.cost_centre')) AS cost_centre
FROM declared;

-- Prices in currency units per hour.
CREATE VIEW decision_price AS
SELECT
    id, at, mode, outcome, kind, subject, summary,
    price_before / 1e8 AS price_before,
    price_after / 1e8 AS price_after,
    (price_after - price_before) / 1e8 AS difference
FROM decision;
