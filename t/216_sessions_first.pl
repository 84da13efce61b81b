# Sessions go before jobs: however many jobs wait, and although they are the same role's, a session's call finds room at the daemon. A daemon
# that knows of requests in the background is told which are; at one that does not, jobs leave room.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(daemon => 'none', conf => [ "steadytext.on_failure = 'error'", "steadytext.request_timeout = '60s'" ]);
my $jobs    = 60;
my %daemons = (
    'that knows of the background' => $cluster->start_echo(name => 'knows', options => [ '--slots', 4 ]),
    'that does not'                => $cluster->start_echo(name => 'does_not', options => [ '--slots', 4, '--without-priority' ]),
);

sub stats { my ($endpoint, $what) = @_; return $cluster->ask_daemon('stats', '{}', $endpoint) =~ /"$what": ?(\d+)/ ? $1 : undef }

for my $which (sort keys %daemons) {
    my $endpoint = $daemons{$which}{endpoint};
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$endpoint'; SELECT pg_reload_conf()");
    ok($cluster->poll_until(q(SELECT string_agg(endpoint || ' ' || state, ',') FROM steadytext_daemons), "$endpoint ready"), "a daemon of four slots $which");
    my $request = qq(SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', '!fault:hold job ' || i, 'use_cache', false))) FROM generate_series(1, $jobs) i);
    my $ids = $cluster->sql($request);
    ok($cluster->wait_for(sub { stats($endpoint, 'in_flight') >= 6 }, 30), 'jobs that do not end fill it, and more wait there');
    is($cluster->sql(qq(SELECT steadytext_generate('a session $_', use_cache => false))), "a session $_", 'a call of their role is answered') for 1 .. 3;
    is($cluster->sql(q(SELECT vector_dims(steadytext_embed('a session', use_cache => false)))), 1024, 'an embedding too');
    is($cluster->sql("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$ids') AND completed_at IS NOT NULL"), 0, 'and no job had to end for it');
    if ($which =~ /knows/) {
        cmp_ok(stats($endpoint, 'background'), '>=', 6, 'the daemon is told which requests are in the background');
    } else {
        is(stats($endpoint, 'background'), 0, 'a daemon that does not know the word is not told it');
    }
    ok($cluster->wait_for(sub {
        $cluster->ask_daemon('control', '{"release": true}', $endpoint);
        $cluster->sql("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$ids') AND status = 'completed'") == $jobs;
    }, 60), 'the jobs end when they are let');
}

# Sessions that never pause do not keep jobs waiting for ever, even where a single request is worked on at once.
{
    my $narrow = $cluster->start_echo(name => 'narrow', options => [ '--slots', 1, '--delay-ms', 20, '--without-priority' ]);
    $cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$narrow->{endpoint}'; SELECT pg_reload_conf(); CREATE ROLE eve LOGIN");
    ok($cluster->poll_until(q(SELECT string_agg(endpoint || ' ' || state, ',') FROM steadytext_daemons), "$narrow->{endpoint} ready"), 'a daemon of one slot');
    my @busy = map { $cluster->session(user => 'eve')->send("SET steadytext.read_ahead = off; SELECT count(steadytext_generate('busy $_ ' || i, use_cache => false)) FROM generate_series(1, 100000) i") } 1 .. 3;
    ok($cluster->wait_for(sub { stats($narrow->{endpoint}, 'generate') >= 20 }, 60), 'three sessions ask without a pause');
    my $ids = $cluster->sql(q(SELECT array_agg(steadytext_enqueue('generate', jsonb_build_object('prompt', 'beside sessions ' || i, 'use_cache', false))) FROM generate_series(1, 5) i));
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_queue WHERE request_id = ANY ('$ids') AND status = 'completed'", 5, 60), 'jobs are carried out beside them');
    is($cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'eve' AND state = 'active'"), 3, 'which go on');
    $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'eve'));
    $_->finish for @busy;
}

# An embedding of a job does not share its message with a session's.
$cluster->sql("ALTER SYSTEM SET steadytext.daemons = '$daemons{'that knows of the background'}{endpoint}'; ALTER SYSTEM SET steadytext.batch_window = '200ms'; SELECT pg_reload_conf()");
ok($cluster->poll_until(q(SELECT string_agg(state, ',') FROM steadytext_daemons), 'ready'), 'embeddings gather for 200 ms');
my $before = stats($daemons{'that knows of the background'}{endpoint}, 'background');
my $id = $cluster->sql(q(SELECT steadytext_enqueue('batch_embed', '{"texts": ["one", "two", "three", "four"], "use_cache": false}')));
my $own = $cluster->sql(q(SELECT steadytext_embed('five', use_cache => false)));
ok($cluster->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$id'", 'completed', 30), 'those of a job');
my $messages = stats($daemons{'that knows of the background'}{endpoint}, 'background') - $before;
ok($messages >= 1 && $messages <= 4, "go in messages of their own, which say so ($messages)");

done_testing;
