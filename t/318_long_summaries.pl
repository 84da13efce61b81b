# Rows that are more than the window of the demo model, summarised by steadytextd: the same text each time it is computed, by a serial plan and by
# a parallel one, and from the cache. With STEADYTEXT_LONG_TESTS set there are a thousand, twenty times the window; that takes some ten minutes.
use strict;
use warnings;
use File::Temp qw(tempdir);
use SteadyText::Cluster;
use Test::More;

my $patience = 1200;  # seconds; the machine may be busy
my $rows     = $ENV{STEADYTEXT_LONG_TESTS} ? 1000 : 100;
my $window   = 640;   # tokens of a request and its answer; less than the first parts have

# steadytextd, as the server starts it, with that window.
my $folder = tempdir(CLEANUP => 1);
chmod 0755, $folder;
open my $program, '>', "$folder/steadytextd" or die $!;
printf {$program} "#!/bin/sh\nexec %s \"\$@\" --context %d\n", SteadyText::Cluster::server_program('steadytextd'), $window;
close $program;
chmod 0755, "$folder/steadytextd";
my $cluster = SteadyText::Cluster->new(daemon => 'native', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '${patience}s'", 'steadytext.default_max_tokens = 48',
    "steadytext.embedded_program = '$folder/steadytextd'", 'jit = off', 'min_parallel_table_scan_size = 0', 'parallel_setup_cost = 0', 'parallel_tuple_cost = 0' ]);
ok($cluster->poll_until(q(SELECT status FROM steadytext_daemon_status() WHERE daemon_id = 'default'), 'healthy', 120), 'the daemon is healthy');
$cluster->sql(qq(CREATE TABLE reports (id int PRIMARY KEY, body text);
    INSERT INTO reports SELECT i, format('Report %s: crew %s repaired a pump.', i, i % 17) FROM generate_series(1, $rows) i;
    ANALYZE reports));

my $summary = q(SELECT steadytext_summarize(body, '{}') FROM reports);
my $serial   = 'SET max_parallel_workers_per_gather = 0';
my $parallel = 'SET max_parallel_workers_per_gather = 3';
my $requests = q(SELECT sum(value) FROM steadytext_metrics() WHERE name = 'steadytext_daemon_requests_total');

# Counted by the model itself.
cmp_ok($cluster->sql(q(SELECT sum(steadytext_count_tokens(body)) FROM reports)), '>=', $rows / 60 * $window, 'the rows are more than the window of the model');
unlike($cluster->sql("$serial; EXPLAIN (COSTS off) $summary"), qr/Gather/, 'a plan without workers');
like($cluster->sql("$parallel; EXPLAIN (COSTS off) $summary"), qr/Finalize Aggregate.*Gather.*Partial Aggregate/s, 'and one with workers, each of which makes a part of the state');

my $before = $cluster->sql($requests);
my $first  = $cluster->try_sql("$serial; $summary", timeout => $patience);
is($first->{err}, '', 'a summary, without a warning');
cmp_ok(length $first->{out}, '>', 20, 'of some length') or diag $first->{out};
my $asked = $cluster->sql($requests) - $before;
cmp_ok($asked, '>', $rows / 50, "of $asked requests");
cmp_ok($asked, '<=', 171 + 60, 'few enough: 171 at most, and some that were too long for the window');
note sprintf '%s requests in %.0f s: %s', $asked, $first->{seconds}, $first->{out};

my $again = $cluster->try_sql("$parallel; SET steadytext.cache_enabled = off; $summary", timeout => $patience);
is($again->{out}, $first->{out}, 'computed again, by a parallel plan: the same') or diag $again->{err};
is($cluster->sql($requests) - $before, 2 * $asked, '  by as many requests');
my $sum = $cluster->sql($requests);
is($cluster->sql("$parallel; $summary"), $first->{out}, 'from the cache too');
cmp_ok($cluster->sql($requests) - $sum, '<', $asked / 2, '  with only those requests that the window had no room for');
note sprintf 'computed again in %.0f s', $again->{seconds};
done_testing;
