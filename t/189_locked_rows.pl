# A transaction that cancels or requeues requests and stays open has locked their rows: nobody else's requests, callbacks or old rows wait for
# it. What it did is what counts once it ends.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'max_worker_processes = 20', "steadytext.queue_retention = '1h'" ]);
$cluster->sql(q(CREATE ROLE mallory LOGIN; CREATE ROLE eve LOGIN; CREATE ROLE bob LOGIN; CREATE TABLE heard (id uuid); GRANT ALL ON heard TO PUBLIC;
    CREATE FUNCTION public.hears(id uuid) RETURNS void LANGUAGE sql AS 'INSERT INTO public.heard VALUES (id)'));

my $number = 0;
sub enqueue {
    my ($role, $count, %options) = @_;
    my ($delay, $retries, $callback) = map { $options{$_} // '' } qw(delay retries callback);
    $number++;
    return split /\n/, $cluster->sql(sprintf(q(SELECT steadytext_enqueue('generate', jsonb_build_object('prompt', '%s ' || i || ' of %d', 'use_cache', false)%s%s) FROM generate_series(1, %d) i),
        $delay, $number, $retries ne '' ? ", max_retries => $retries" : '', $callback ? ", callback => 'public.hears(uuid)'" : '', $count), user => $role);
}
sub list { return join ', ', map { "'$_'" } @_ }
sub states { my (@ids) = @_; return $cluster->sql(sprintf 'SELECT string_agg(DISTINCT status, $$ $$ ORDER BY status) FROM steadytext_queue WHERE request_id IN (%s)', list(@ids)) }
sub become { my ($what, $state, @ids) = @_; return ok($cluster->wait_for(sub { states(@ids) eq $state }, 60), $what) || diag states(@ids) }

# How long bob's twenty requests take.
sub bob {
    my $start = time;
    my @ids   = enqueue('bob', 20, callback => 1);
    my $done  = $cluster->wait_for(sub { states(@ids) eq 'completed' }, 60);
    return ($done ? time - $start : 'never', @ids);
}
my ($alone) = bob();
($alone) = bob();

# Cancelled while they are under way.
for my $end (qw(ROLLBACK COMMIT)) {
    my @ids = enqueue('mallory', 30, delay => '!fault:delay=1500');
    ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_queue WHERE user_id = 'mallory' AND status = 'processing'), 't'), 'requests are under way');
    my $mallory = $cluster->session(user => 'mallory');
    $mallory->ask(sprintf 'BEGIN; SELECT count(steadytext_cancel_async(id::uuid)) FROM unnest(ARRAY[%s]) id;', list(@ids));
    my @beside;
    for (1 .. 8) {
        my ($took, @bobs) = bob();
        push @beside, $took;
        # The answers of the thirty come meanwhile.
        last if $took eq 'never';
    }
    my ($most) = sort { $b <=> $a } map { $_ eq 'never' ? 9e9 : $_ } @beside;
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE user_id = 'bob' AND callback_state IN ('due', 'running')), 0, 30), '  bob\'s callbacks are called');
    cmp_ok($most, '<', 2 + 4 * $alone, sprintf '  bob\'s requests take at most %.2f s beside them, %.2f s alone', $most, $alone);
    is($cluster->sql(sprintf q{SELECT count(*) FROM steadytext_queue WHERE status = 'cancelled' AND request_id IN (%s)}, list(@ids)), 0, '  while the transaction is open');
    $mallory->ask("$end;");
    $end eq 'COMMIT' ? become('  committed, they are cancelled', 'cancelled', @ids) : become('  rolled back, they are done', 'completed', @ids);
    $mallory->finish;
}

# Requeued, with a callback due, and old.
{
    my @failed = enqueue('mallory', 10, delay => '!fault:error', retries => 0, callback => 1);
    become('requests that fail', 'failed', @failed);
    my ($old) = enqueue('bob', 1);
    become('  one of bob\'s that is old', 'completed', $old);
    my $mallory = $cluster->session(user => 'mallory');
    $mallory->ask(sprintf 'BEGIN; SELECT steadytext_queue_requeue(ARRAY[%s]::uuid[]);', list(@failed));
    $cluster->sql(sprintf q(UPDATE steadytext_queue SET completed_at = now() - interval '2 hours' WHERE request_id = '%s'), $old);
    my ($took, @bobs) = bob();
    cmp_ok($took, '<', 2 + 4 * $alone, sprintf '  bob\'s requests take %.2f s beside their requeueing', $took);
    ok($cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM steadytext_queue WHERE request_id = '$old'") == 0 }, 30), '  what is old is deleted');
    ok($cluster->poll_until(sprintf(q(SELECT count(*) FROM heard WHERE id IN (%s)), list(@bobs)), 20, 30), '  callbacks are called');
    $mallory->ask('ROLLBACK;');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE callback_state IN ('due', 'running')), 0, 30), '  hers too, once it ends');
    $mallory->finish;
}

# Of two roles at once, in transactions that end at different times.
for my $first (qw(mallory eve)) {
    my ($second) = grep { $_ ne $first } qw(mallory eve);
    my (%ids, %session);
    for my $role ($first, $second) {
        $ids{$role}     = [ enqueue($role, 30, delay => '!fault:delay=1500') ];
        $session{$role} = $cluster->session(user => $role);
        $session{$role}->ask(sprintf 'BEGIN; SELECT count(steadytext_cancel_async(id::uuid)) FROM unnest(ARRAY[%s]) id;', list(@{ $ids{$role} }));
    }
    my @beside = sort { $b <=> $a } map { my ($took) = bob(); $took eq 'never' ? 9e9 : $took } 1 .. 5;
    cmp_ok($beside[0], '<', 2 + 4 * $alone, sprintf 'bob\'s requests take at most %.2f s beside the locked rows of two roles', $beside[0]);
    $session{$first}->ask('ROLLBACK;');
    become("  $first\'s are done once its transaction ends", 'completed', @{ $ids{$first} });
    isnt(states(@{ $ids{$second} }), 'completed', "  while $second\'s wait for theirs");
    my ($between) = bob();
    cmp_ok($between, '<', 2 + 4 * $alone, sprintf '  and bob\'s take %.2f s', $between);
    $session{$second}->ask('COMMIT;');
    become("  $second\'s are cancelled", 'cancelled', @{ $ids{$second} });
    $_->finish for values %session;
}

# Thousands of them, each cancelled in a subtransaction of its own.
{
    $cluster->sql(q(SELECT count(steadytext_enqueue('generate', jsonb_build_object('prompt', 'one of many ' || i, 'use_cache', false), priority => 1)) FROM generate_series(1, 4000) i), user => 'mallory');
    my $mallory = $cluster->session(user => 'mallory');
    $mallory->ask(q(BEGIN; DO $$ DECLARE r record; BEGIN
        FOR r IN SELECT request_id FROM steadytext_queue WHERE completed_at IS NULL LOOP
            BEGIN PERFORM steadytext_cancel_async(r.request_id); EXCEPTION WHEN division_by_zero THEN NULL; END;
        END LOOP; END $$;));
    my @beside = sort { $a <=> $b } map { my ($took) = bob(); $took eq 'never' ? 9e9 : $took } 1 .. 5;
    cmp_ok($beside[2], '<', 1 + 3 * $alone, sprintf 'bob\'s requests take %.2f s beside thousands of locked rows', $beside[2]);
    $mallory->ask('COMMIT;');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE completed_at IS NULL), 0, 60), '  which are cancelled in the end');
    $mallory->finish;
}

# A row that is locked by hand while its worker ends and another begins.
{
    my @ids = enqueue('mallory', 1, delay => '!fault:delay=2000');
    ok($cluster->poll_until(q(SELECT count(*) FROM steadytext_queue WHERE status = 'processing'), 1), 'a request is under way');
    my $session = $cluster->session;
    $session->ask("BEGIN; SELECT FROM steadytext_queue WHERE request_id = '$ids[0]' FOR UPDATE;");
    $cluster->sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext queue worker'));
    my ($took) = bob();
    cmp_ok($took, '<', 5 + 4 * $alone, sprintf 'the next worker begins beside it: bob waits %.2f s', $took);
    $session->ask('ROLLBACK;');
    become('  and what it did not get is done in the end', 'completed', @ids);
    $session->finish;
}

done_testing;
