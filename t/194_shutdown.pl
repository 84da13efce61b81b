# The server is stopped with 256 requests under way, with a daemon that hangs, with synchronous replication blocked (fault catalogue,
# row 9): a fast stop takes two seconds at most, and no process, socket file or shared memory is left.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $sessions = 256;  # one role may have 264 of 352
my @base     = ('max_connections = 300', 'steadytext.max_requests = 352', "steadytext.request_timeout = '60s'");
my $slots    = q(SELECT value FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use');

# So many sessions that call, each once, in one pgbench.
sub call {
    my ($cluster, $sql) = @_;
    my $file = $cluster->run_dir . '/call.sql';
    open my $out, '>', $file or die $!;
    print {$out} "$sql;\n";
    close $out;
    my $output = '';
    my $run = IPC::Run::start([ SteadyText::Cluster::server_program('pgbench'), '-n', '-h', $cluster->{PGHOST}, '-p', $cluster->{PGPORT},
        '-U', $cluster->{PGUSER}, '-f', $file, '-c', $sessions, '-j', 2, '-t', 1, $cluster->{PGDATABASE} ], '<', \undef, '>&', \$output);
    return ($run, \$output);
}

# What the server has that must go with it: processes, the System V segment that postmaster.pid names, files of shared memory.
sub traces {
    my ($cluster) = @_;
    my ($postmaster, $segment) = split /\|/, $cluster->sql(q(
        SELECT lines[1], split_part(regexp_replace(lines[7], ' +', ' ', 'g'), ' ', 2 + (lines[7] LIKE ' %')::int)
        FROM string_to_array(pg_read_file('postmaster.pid'), E'\n') lines));
    my @pids = ($postmaster);
    for (my $i = 0; $i < @pids; $i++) {
        push @pids, split ' ', `pgrep -P $pids[$i]`;
    }
    my %files = map { $_ => 1 } `cat /proc/$postmaster/maps` =~ m{(/dev/shm/\S+)}g;
    return { pids => \@pids, segment => $segment, files => [ keys %files ] };
}

sub segment_exists { my ($id) = @_; return scalar grep { /^0x\w+\s+\Q$id\E\s/ } `ipcs -m` }

sub leaves_nothing {
    my ($cluster, $before, $what) = @_;
    ok($cluster->wait_for(sub { !grep { kill 0, $_ } @{ $before->{pids} } }, 2), "$what: no process is left")
        or diag `ps -o pid,ppid,args -p @{[ join ',', @{ $before->{pids} } ]}`;
    my @sockets = grep { !/echo/ } split /\n/, `find $cluster->{run} -type s`;
    is("@sockets", '', "$what: no socket file is left");
    is(scalar(grep { -e } @{ $before->{files} }) + segment_exists($before->{segment}), 0, "$what: no shared memory is left");
    return;
}

sub stop_within {
    my ($cluster, $mode, $seconds, $what) = @_;
    my $before = traces($cluster);
    ok(segment_exists($before->{segment}), "$what: the server has a segment of shared memory");
    my $start = time;
    ok($cluster->stop($mode), "$what: $mode stop");
    my $took = time - $start;
    cmp_ok($took, '<=', $seconds, "$what: $mode stop in time");
    note(sprintf 'row 9: %s: %s stop in %.2f s', $what, $mode, $took);
    leaves_nothing($cluster, $before, "$what, $mode stop");
    return;
}

{
    my $cluster = SteadyText::Cluster->new(conf => [ @base, "synchronous_standby_names = 'nobody'", 'synchronous_commit = local' ]);
    my $hold = q(SELECT steadytext_generate('!fault:hold ' || :client_id, use_cache => false));

    for my $mode (qw(fast immediate)) {
        my ($run, $output) = call($cluster, $hold);
        ok($cluster->poll_until($slots, $sessions), "$sessions requests are under way");
        stop_within($cluster, $mode, 2, "$sessions requests");
        $run->finish;
        ok($cluster->start, 'it starts again');
    }

    # The daemon hangs, and a commit waits for a standby that never comes.
    my ($run, $output) = call($cluster, $hold);
    ok($cluster->poll_until($slots, $sessions), "$sessions requests are under way");
    is($cluster->sql(q(SELECT steadytext_generate('to be written'))), 'to be written', 'the keeper has something to write');
    my $blocked = $cluster->session->send('SET synchronous_commit = on; CREATE TABLE never_acknowledged ()');
    ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_type = 'client backend'), 1),
        'a commit waits for a standby');
    kill 'STOP', $cluster->echo_pid;
    stop_within($cluster, 'fast', 2, 'a daemon that hangs and a standby that never comes');
    kill 'CONT', $cluster->echo_pid;
    $_->finish for $run, $blocked;

    # A smart stop waits for sessions, so those that ask are still served; then it ends.
    ok($cluster->start, 'it starts again');
    ok($cluster->poll_until(q(SELECT steadytext_generate('up', use_cache => false)), 'up'), 'and serves');
    ($run, $output) = call($cluster, $hold);
    ok($cluster->poll_until($slots, $sessions), "$sessions requests are under way");
    my $before = traces($cluster);
    my $stop = IPC::Run::start([ SteadyText::Cluster::as_server(), SteadyText::Cluster::server_program('pg_ctl'), '-D', $cluster->data_dir,
        '-m', 'smart', '-w', '-s', 'stop' ], '<', \undef, '>&', \my $stopped);
    ok($cluster->wait_for(sub { $cluster->log =~ /received smart shutdown request/ }), 'a smart stop is asked for');
    $cluster->ask_daemon('control', '{"release": true}');
    my $start = time;
    ok($run->finish, "all $sessions sessions get their answers") or diag substr $$output, 0, 500;
    ok($stop->finish, 'and the server stops');
    cmp_ok(time - $start, '<=', 2, 'at once then');
    leaves_nothing($cluster, $before, 'smart stop');
}

# With a daemon of the server's own and a real model.
{
    my $cluster = SteadyText::Cluster->new(daemon => 'native', conf => \@base);
    ok($cluster->poll_until(q(SELECT status FROM steadytext_daemon_status()), 'healthy', 120), 'the embedded daemon serves');
    # One after the other, as some answers are short, and before the last session is connected the first may be done.
    my @sessions = map { $cluster->session->send("SET steadytext.read_ahead = off;
        SELECT count(steadytext_generate('Count from $_ to ' || i, max_tokens => 1000, use_cache => false)) FROM generate_series(1000, 9999) i") } 1 .. 64;
    ok($cluster->poll_until("SELECT value >= 60 FROM steadytext_metrics() WHERE name = 'steadytext_slots_in_use'", 't', 120), '64 requests are under way');
    stop_within($cluster, 'fast', 2, '64 requests at the embedded daemon');
    ok(!-e $cluster->data_dir . '/pg_steadytext/steadytextd.sock', 'nor the socket file of the daemon');
    $_->finish for @sessions;
}

# Each worker in each wait: a fast stop takes two seconds at most. No standby ever acknowledges, and whoever may set synchronous_commit has.
{
    my $cluster = SteadyText::Cluster->new(conf => [ "synchronous_standby_names = 'nosuch'", 'synchronous_commit = local', 'max_worker_processes = 20',
        "steadytext.request_timeout = '60s'", "test.waits = 'nothing'" ]);
    local $ENV{PGOPTIONS} = '-c synchronous_commit=local';
    # A trigger acts on a prompt that names the row of the table below.
    $cluster->sql(qq(ALTER DATABASE $cluster->{PGDATABASE} SET synchronous_commit = on; ALTER ROLE postgres SET synchronous_commit = remote_apply;
        CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS \$\$
        BEGIN
            IF NEW.prompt LIKE '%sleeps ' || current_setting('test.waits') THEN
                PERFORM pg_sleep(600);
            ELSIF NEW.prompt LIKE '%standby ' || current_setting('test.waits') THEN
                PERFORM set_config('synchronous_commit', 'on', false);
            END IF;
            RETURN NEW;
        END \$\$;
        CREATE TRIGGER waits BEFORE INSERT ON steadytext_cache FOR EACH ROW EXECUTE FUNCTION waits();
        CREATE TRIGGER waits BEFORE UPDATE ON steadytext_queue FOR EACH ROW WHEN (NEW.completed_at IS NOT NULL) EXECUTE FUNCTION waits();
        CREATE FUNCTION public.never_ends(id uuid) RETURNS void LANGUAGE plpgsql AS \$\$
            BEGIN LOOP BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END \$\$;
        CREATE TABLE locked (); CREATE TABLE set_by_callback (id uuid);
        CREATE FUNCTION public.sets(id uuid) RETURNS void LANGUAGE plpgsql AS \$\$
            BEGIN PERFORM set_config('synchronous_commit', 'on', false); INSERT INTO public.set_by_callback VALUES (id); END \$\$;
        CREATE FUNCTION public.locks(id uuid) RETURNS void LANGUAGE sql AS 'LOCK public.locked'));
    my $number;
    my @sessions;
    my $hold = sub {
        my ($sql) = @_;
        push @sessions, $cluster->session->send("BEGIN; $sql; SELECT pg_sleep(600)");
        return $cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type = 'client backend'), scalar @sessions, 30);
    };
    my $write = sub { my ($what) = @_; return $cluster->sql("SELECT steadytext_generate('$what $number')") };
    my $queue = sub {
        my ($prompt, $callback) = @_;
        $callback = defined $callback ? ", callback => 'public.$callback(uuid)'" : '';
        return $cluster->sql(qq(SELECT steadytext_enqueue('generate', '{"prompt": "$prompt $number", "use_cache": false}'$callback)));
    };
    # worker, what it waits for, its wait event, what brings it there
    my @table = (
        [ 'gateway', 'its latch', 'Extension', sub { } ],
        [ 'launcher', 'its latch', 'Extension', sub { } ],
        [ 'keeper', 'its latch', 'Extension', sub { $write->("plain $_") for 1 .. 20 } ],
        [ 'keeper', 'a lock', 'relation', sub { $hold->('LOCK steadytext_cache IN EXCLUSIVE MODE'); $write->('plain') } ],
        [ 'keeper', 'a statement', 'PgSleep', sub { $write->('sleeps') } ],
        [ 'queue worker', 'its latch', 'Extension', sub { $queue->('!fault:hold') } ],
        [ 'queue worker', 'a lock', 'relation', sub {
            $queue->('!fault:delay=2000');
            $cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_queue WHERE status = 'processing'), 't');
            $hold->('LOCK steadytext_queue IN EXCLUSIVE MODE');
        } ],
        [ 'queue worker', 'a statement', 'PgSleep', sub { $queue->('sleeps') } ],
        [ 'callback worker', 'a lock', 'relation', sub { $hold->('LOCK public.locked'); $queue->('plain', 'locks') } ],
        [ 'callback worker', 'a statement, and catches what would end it', 'PgSleep', sub { $queue->('plain', 'never_ends') } ],
    );
    for my $row (@table) {
        my ($worker, $what, $event, $bring) = @$row;
        $number++;
        $cluster->sql("ALTER SYSTEM SET test.waits = '$number'; SELECT pg_reload_conf()");
        $bring->();
        my $events = $event eq 'Extension' ? "wait_event = 'Extension' OR wait_event LIKE 'Steadytext%'" : "wait_event = '$event'";
        ok($cluster->poll_until("SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'pg_steadytext $worker' AND ($events)", 't', 30), "the $worker waits for $what")
            or diag $cluster->sql(q(SELECT backend_type, wait_event_type, wait_event, query FROM pg_stat_activity));
        $cluster->sql(q(ALTER SYSTEM SET test.waits = 'nothing'));
        my $start = time;
        ok($cluster->stop('fast'), 'a fast stop');
        my $took = time - $start;
        cmp_ok($took, '<', 2, "$worker, $what: in time");
        note sprintf '%-16s %-45s %.2f s', $worker, $what, $took;
        $_->finish for splice @sessions;
        ok($cluster->start, 'it starts again');
    }
    # No worker's commit waits for a standby, whatever is set for the database and the superuser, or by a trigger or callback that the commit ends.
    $number++;
    $cluster->sql("ALTER SYSTEM SET test.waits = '$number'; SELECT pg_reload_conf()");
    $write->('standby');
    ok($cluster->poll_until("SELECT count(*) FROM steadytext_cache WHERE prompt = 'standby $number'", 1), 'answers are written although no standby acknowledges');
    my $id = $queue->('standby', 'sets');
    ok($cluster->poll_until("SELECT status, callback_state FROM steadytext_queue WHERE request_id = '$id'", 'completed|done', 90), 'as are results, and what callbacks do');
}

done_testing;
