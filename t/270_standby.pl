# A standby answers through its own gateway, from its primary's cache as it is replayed, and never with what the primary has cleared or changed
# once that is replayed; a promotion needs no restart.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $primary = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off' ]);
$primary->sql(q(SELECT steadytext_generate('before the backup')));
my $standby  = $primary->standby;
my $requests = sub { my ($n) = $primary->ask_daemon('stats') =~ /"generate":(\d+)/; return $n // 0 };
my $written  = sub { $primary->sql('SELECT steadytext_frecency_refresh()'); return $standby->catch_up($primary) };

# ---- what reads ----------------------------------------------------------------------------------------------------------------

is($standby->sql('SELECT pg_is_in_recovery()'), 't', 'a standby');
ok($standby->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'whose gateway has its daemon');
my %answers = (
    q(SELECT steadytext_generate('on a standby'))                                                      => qr/^on a standby$/,
    q(SELECT vector_dims(steadytext_embed('on a standby')))                                            => qr/^1024$/,
    q(SELECT count(*) FROM steadytext_rerank('on', ARRAY['a', 'standby']))                             => qr/^2$/,
    q(SELECT steadytext_generate_choice('yes', ARRAY['yes', 'no']))                                    => qr/^(yes|no)$/,
    q(SELECT string_agg(token, '') FROM steadytext_generate_stream('streamed on a standby') token)     => qr/^streamed on a standby$/,
    q(SELECT count(*) FROM steadytext_generate_batch(ARRAY['one of a batch', 'another of it']))        => qr/^[12]$/,
    q(SELECT details ->> 'role' FROM steadytext_health_check() WHERE component = 'standby')            => qr/^standby$/,
    q(SELECT count(*) > 0 FROM steadytext_cache_stats())                                               => qr/^t$/,
    q(SELECT count(*) > 0 FROM steadytext_metrics() WHERE name = 'steadytext_requests_total')          => qr/^t$/,
);
for my $query (sort keys %answers) {
    my $result = $standby->try_sql($query);
    like($result->{out}, $answers{$query}, $query) or diag $result->{err};
}
is($standby->try_sql(q(SELECT steadytext_generate_async('later')))->{state}, '25006', 'the queue is for the primary');

# ---- the replayed cache ----------------------------------------------------------------------------------------------------------

ok($written->(), 'what the primary learnt is written and replayed');
my $asked = $requests->();
is($standby->sql(q(SELECT steadytext_generate('before the backup'))), 'before the backup', 'the standby has an answer of its primary');
$primary->sql(q(SELECT steadytext_generate('after the backup')));
$written->();
is($standby->sql(q(SELECT steadytext_generate('after the backup'))), 'after the backup', 'a later one too');
is($requests->(), $asked + 1, 'no daemon was asked for either');

# ---- what the primary changes ------------------------------------------------------------------------------------------------------

# The answer is the number of the change. Whoever asks after a change was replayed has its number: a session that was connected all the time, has
# asked before, is new, or was idle while others heard.
my @sessions = map { $standby->session } 1 .. 3;
my $question = q(SELECT steadytext_generate('which change?'));
$primary->sql($question);
my $current = 0;
my $change = sub {
    my ($before, $after) = @_;
    $current++;
    $primary->sql(($before // '') . "UPDATE steadytext_cache SET response = '$current' WHERE prompt = 'which change?';" . ($after // ''));
    return $standby->catch_up($primary);
};
$written->();
srand(260);
my (@stale, $held);
for my $round (1 .. 60) {
    $change->($round % 7 ? () : ("BEGIN; SAVEPOINT s; UPDATE steadytext_cache SET response = 'undone' WHERE prompt = 'which change?'; ROLLBACK TO s;", 'COMMIT;'));
    for my $asks (1 .. 3) {
        my $who = int rand 4;
        my $said = $who < 3 ? $sessions[$who]->ask("$question;") : $standby->sql($question);
        push @stale, "round $round: session $who said $said" if $said ne $current;
    }
    $held++ if $standby->sql(q(SELECT count(*) FROM steadytext_metrics() WHERE name = 'steadytext_cache_hits_total' AND labels ->> 'level' = 'hot' AND value > 0));
}
is("@stale", '', 'sixty changes: nobody has an answer of before a change that is replayed');
$_->finish for @sessions;
$asked = $requests->();
$change->();
is($standby->sql($question), $current, 'nobody was connected when it was replayed: the next session knows');
is($requests->(), $asked, 'from the table');
my $idle = $standby->session;
is($idle->ask("$question;"), $current, 'a session asks');
$change->();
is($standby->sql($question), $current, 'it has not heard of the change yet; another session has');
$primary->sql('SELECT steadytext_cache_clear()');
$standby->catch_up($primary);
is($standby->sql($question), 'which change?', 'a clear: a daemon is asked anew');
is($requests->(), $asked + 1, 'once');
is($idle->ask("$question;"), 'which change?', 'and by one session for all');
is($requests->(), $asked + 1, 'from shared memory, which works on a standby');
$primary->sql('VACUUM ANALYZE steadytext_cache; ANALYZE _steadytext.cache_clears');
$standby->catch_up($primary);
is($standby->sql($question) . $requests->(), 'which change?' . ($asked + 1), 'what is no clear makes nobody forget');

# ---- the promotion -----------------------------------------------------------------------------------------------------------------

$primary->sql($question);
$written->();
is($idle->ask("$question;"), 'which change?', 'shared memory of the standby has an answer');
$change->();
ok($standby->promote, 'promoted before anybody has heard of a change');
is($standby->sql($question), $current, 'who comes after the promotion has it');
is($idle->ask("$question;"), $current, 'and who was there before');
$primary->stop('immediate');
is($idle->ask(q(SELECT steadytext_generate('asked of the new primary');)), 'asked of the new primary', 'it goes on asking');
$standby->sql('SELECT steadytext_frecency_refresh()');
is($standby->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'asked of the new primary')), 1, 'its keeper writes');
my $id = $standby->sql(q(SELECT steadytext_generate_async('a job for the new primary')));
ok($standby->poll_until("SELECT status FROM steadytext_queue WHERE request_id = '$id'", 'completed', 90), 'and its queue works');
$standby->sql(q(UPDATE steadytext_cache SET response = 'by the new primary' WHERE prompt = 'which change?'));
is($idle->ask("$question;"), 'by the new primary', 'a change by the new primary counts at once');
# Nobody waits for the primary that is no more.
$standby->sql('ALTER TABLE _steadytext.cache_clears SET (fillfactor = 100)');
my $locks = $standby->session;
$locks->ask('BEGIN; LOCK TABLE _steadytext.cache_clears;');
is($idle->ask("$question;", 20), 'by the new primary', 'the table of the primary\'s clears is not read again');
$locks->finish;
$idle->finish;

done_testing;
