# DROP EXTENSION while workers are at work, and CREATE EXTENSION after it: nobody ends anybody, and the new one knows nothing of the old one's answers.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ 'log_lock_waits = on' ]);
my $waits = sub { my ($who) = @_; return $cluster->wait_for(sub { $cluster->sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $who") > 0 }) };
my $again = q(DROP EXTENSION pg_steadytext CASCADE; CREATE EXTENSION pg_steadytext);

# ---- locks: whichever table a keeper waits for in the midst of its work --------------------------------------------------------
for my $table (qw(steadytext_cache steadytext_usage)) {
    $cluster->sql('SELECT steadytext_frecency_refresh()');
    my $holder = $cluster->session->send("BEGIN; LOCK TABLE $table IN EXCLUSIVE MODE; SELECT steadytext_generate('$table waits');");
    ok($waits->(q(backend_type = 'pg_steadytext keeper')), "$table is locked: the keeper waits");
    my $dropper = $cluster->session->send("SET application_name = 'dropper'; $again;");
    ok($waits->(q(application_name = 'dropper')), 'DROP EXTENSION waits for the keeper');
    $holder->send('COMMIT;');
    is($holder->finish->{state}, '', 'the table is free');
    is($dropper->finish->{state}, '', 'the extension is dropped, and made again');
}

# ---- jobs ---------------------------------------------------------------------------------------------------------------------
$cluster->sql(q(SELECT count(steadytext_generate_async('!fault:hold job ' || i)) FROM generate_series(1, 3) i));
ok($cluster->poll_until(q(SELECT count(*) > 0 FROM steadytext_queue WHERE status = 'processing'), 't'), 'jobs are under way');
$cluster->sql('DROP EXTENSION pg_steadytext CASCADE');
ok($cluster->poll_until(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^pg_steadytext (queue|keeper)'), 0, 40), 'the workers leave a database whose extension is dropped');

# ---- answers -------------------------------------------------------------------------------------------------------------------
my $cached = q(SELECT cached FROM steadytext_generate_ex('known to the old one'));
$cluster->sql('CREATE EXTENSION pg_steadytext');
$cluster->sql(q(SELECT steadytext_generate('known to the old one')));
is($cluster->sql($cached), 't', 'an answer is cached');
$cluster->sql($again);
is($cluster->sql($cached), 'f', 'an extension that is made after it does not know it');
is($cluster->sql("BEGIN; $again; $cached; COMMIT"), 'f', 'nor one that is made in the same transaction');
$cluster->sql(q(SELECT steadytext_generate('known to the old one'); SELECT steadytext_frecency_refresh()));
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'known to the old one')), 1, 'what it has asked itself is in its table');

unlike($cluster->log, qr/deadlock detected|does not exist/, 'the log knows of no deadlock and of nothing missing');
done_testing;
