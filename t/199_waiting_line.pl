# More calls than there is room for: they wait in line, in order, within their deadlines, and nobody in line holds up another.
use strict;
use warnings;
use Time::HiRes qw(time);
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;

my ($slots, $share) = (8, 6);  # of which one role may have so many
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.max_requests = $slots", "steadytext.payload_memory = '1MB'", "steadytext.on_failure = 'error'",
    'max_connections = 330', "steadytext.request_timeout = '60s'" ]);
$cluster->sql("CREATE ROLE $_ LOGIN") for qw(one other);

sub metric { my ($name) = @_; return "SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_$name'" }
sub in_use { my ($count, $what) = @_; return ok($cluster->poll_until(metric('slots_in_use'), $count), $what) }
sub in_line { my ($count, $what) = @_; return ok($cluster->poll_until(metric('sessions_in_line'), $count), $what) }
sub refused { return $cluster->sql(q(SELECT sum(value) FROM steadytext_metrics() WHERE name IN ('steadytext_queue_full_total', 'steadytext_payload_full_total'))) }

# Sessions of role `one` that call, each with its backend's process id.
sub caller_of {
    my ($call, %options) = @_;
    my $session = $cluster->session(user => $options{user} // 'one');
    my $pid = $session->ask('SELECT pg_backend_pid();');
    $session->ask("SET steadytext.request_timeout = '$options{timeout}';") if $options{timeout};
    $session->{out} = '';
    $session->hand_over("$call;");
    return { session => $session, pid => $pid };
}
my $held = 0;
sub hold { $held++; return map { caller_of("SELECT steadytext_generate('!fault:hold $held.$_', use_cache => false)") } 1 .. $_[0] }
sub say_so { my ($text, %options) = @_; return caller_of("SELECT steadytext_generate('$text', use_cache => false)", %options) }
sub answer { my ($caller) = @_; return $caller->{session}->finish }
sub cancel { my ($caller) = @_; $cluster->sql("SELECT pg_cancel_backend($caller->{pid})"); return answer($caller) }
# The first of those who hold a slot gives it up.
sub give_up { my ($holders) = @_; return is(cancel(shift @$holders)->{state}, '57014', 'a request under way is given up') }

# ---- many more sessions than slots ---------------------------------------------------------------------------------------------

{
    my ($sessions, $calls) = (300, 2);
    my $file = $cluster->run_dir . '/calls.sql';
    open my $out, '>', $file or die $!;
    print {$out} "SELECT steadytext_generate('x' || :client_id || random(), use_cache => false);\n";
    close $out;
    my ($output, $began) = ('', time);
    my $run = IPC::Run::run([ SteadyText::Cluster::server_program('pgbench'), '-n', '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT}, '-U', 'one',
        '-f', $file, '-c', $sessions, '-j', 2, '-t', $calls, $cluster->{PGDATABASE} ], '<', \undef, '>&', \$output);
    ok($run, "$sessions sessions call at once, on $slots slots") or diag $output;
    like($output, qr{processed: ${\($sessions * $calls)}/${\($sessions * $calls)}}, 'every call is answered') or diag $output;
    is(refused(), 0, 'none was refused');
    my $waited = $cluster->sql(metric('room_waits_total'));
    cmp_ok($waited, '>', 0, 'those that waited in line are counted');
    note(sprintf '%d calls of %d sessions on %d slots: %.1f s, %d waited', $sessions * $calls, $sessions, $slots, time - $began, $waited);
    in_line(0, 'and nobody is in line any more');
}

# ---- the order, and who leaves it ------------------------------------------------------------------------------------------------

{
    my @holders = hold($share);
    in_use($share, "a role has its share, $share of $slots slots");
    my $first = say_so('first');
    in_line(1, 'one more call waits in line');
    my $second = say_so('second');
    in_line(2, 'another one behind it');
    is($cluster->sql(q(SELECT steadytext_generate('of another role', use_cache => false)), user => 'other'), 'of another role',
        'another role does not wait behind them');
    give_up(\@holders);
    is(answer($first)->{out}, 'first', 'the first in line comes first');
    is(answer($second)->{out}, 'second', 'then the second');

    push @holders, hold(1);
    in_use($share, 'the share is used up again');
    my @waiting;
    for my $place (1 .. 4) {
        push @waiting, say_so("number $place");
        in_line($place, "session $place is in line");
    }
    is(cancel($waiting[0])->{state}, '57014', 'the first is cancelled');
    $cluster->sql("SELECT pg_terminate_backend($waiting[2]{pid})");
    like(answer($waiting[2])->{err}, qr/57P01/, 'the third is terminated');
    in_line(2, 'both have left the line');
    kill 'STOP', $waiting[1]{pid};
    give_up(\@holders);
    give_up(\@holders);
    is(answer($waiting[3])->{out}, 'number 4', 'a session that is stopped in line keeps room for itself only');
    kill 'CONT', $waiting[1]{pid};
    is(answer($waiting[1])->{out}, 'number 2', 'and has its turn when it goes on');

    push @holders, hold($share - @holders);
    in_use($share, 'the share is used up once more');
    my $stopped = say_so('too late', timeout => '1s');
    in_line(1, 'a session waits in line');
    kill 'STOP', $stopped->{pid};
    my $behind = say_so('behind it');
    in_line(2, 'and one behind it');
    select undef, undef, undef, 1.1;  # until its deadline has passed: nothing tells of it
    give_up(\@holders);
    is(answer($behind)->{out}, 'behind it', 'a session that is stopped beyond its deadline is passed over');
    kill 'CONT', $stopped->{pid};
    answer($stopped);
    in_line(0, 'it leaves when it goes on');

    push @holders, hold($share - @holders);
    in_use($share, 'and once more');
    my $before = refused();
    my $late = answer(say_so('in vain', timeout => '700ms'));
    is($late->{state}, '53000', 'a call whose turn does not come within its deadline is refused');
    like($late->{err}, qr/DETAIL:.*$share of $slots request slots; the free ones are kept for other roles/, 'with the reason');
    is(refused(), $before + 1, 'and counted');
    my $batch = caller_of(q(SELECT string_agg(result, ' ' ORDER BY ord) FROM steadytext_generate_batch(ARRAY['a', 'b', 'c'], use_cache => false)
        WITH ORDINALITY AS r(index, result, ord)));
    my $stream = caller_of(q(SELECT string_agg(t, '') FROM steadytext_generate_stream('piece by piece', use_cache => false) t));
    in_line(2, 'a batch and a stream wait in line, each in one place');
    give_up(\@holders);
    my $of_batch = answer($batch);
    is($of_batch->{out}, 'a b c', 'the batch has its answers') or diag $of_batch->{err};
    my $of_stream = answer($stream);
    is($of_stream->{out}, 'piece by piece', 'and so has the stream') or diag $of_stream->{err};
    give_up(\@holders) while @holders;
    in_use(0, 'nothing is left in use');
}

# ---- payload memory ---------------------------------------------------------------------------------------------------------------

{
    my $large = q(SELECT length(steadytext_generate('!fault:delay=1500 ' || repeat('x', 300000), use_cache => false)));
    my $before = refused();
    my @callers = map { caller_of($large) } 1 .. 6;
    ok($cluster->poll_until(q(SELECT value > 0 FROM steadytext_metrics() WHERE name = 'steadytext_sessions_in_line'), 't'), 'six requests of 300 kB wait for room in 1 MB');
    is($cluster->sql(q(SELECT steadytext_generate('small', use_cache => false)), user => 'other'), 'small', 'the small one of another role does not');
    is(join(' ', map { answer($_)->{out} } @callers), join(' ', (300018) x 6), 'each has its turn');
    is(refused(), $before, 'none was refused');
    my $huge = $cluster->try_sql(q(SET steadytext.max_prompt_bytes = 4000000; SELECT steadytext_generate(repeat('x', 2000000), use_cache => false)));
    is($huge->{state}, '53200', 'what can never have room is refused') or diag $huge->{err};
    cmp_ok($huge->{seconds}, '<', 20, 'without waiting for its deadline');
}

# ---- a session that is killed in line ------------------------------------------------------------------------------------------------

{
    my @holders = hold($share);
    in_use($share, 'a share is used up');
    my @waiting = (say_so('killed'), say_so('with it'));
    in_line(2, 'two sessions wait in line');
    kill 'KILL', $waiting[0]{pid};
    $_->{session}->finish for @holders, @waiting;
    ok($cluster->wait_for(sub { $cluster->try_sql('SELECT 1')->{out} eq '1' }, 60), 'one is killed: the server begins anew');
    ok($cluster->poll_until(q(SELECT string_agg(state, '') FROM steadytext_daemons), 'ready'), 'with its daemon');
    is($cluster->sql(q(SELECT steadytext_generate('served', use_cache => false))), 'served', 'and serves');
    in_line(0, 'with nobody in line');
}

done_testing;
