# Nodes of a cluster share what they compute: a standby sends answers, hits and usage to its hub, the primary, and replay brings them to all. The hub takes
# from a node what the node may bring, and nothing else; without a hub a standby goes on, and catches up.
use strict;
use warnings;
use IO::Socket::INET;
use SteadyText::Cluster;
use Test::More;
use Time::HiRes qw(time);

my $primary = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.read_ahead = off', 'steadytext.frecency_refresh_interval = 1' ]);
$primary->sql(q(CREATE ROLE node LOGIN; CREATE ROLE asker LOGIN; CREATE ROLE other LOGIN; CREATE ROLE plain LOGIN; SELECT steadytext_hub_allow('node', 'asker')));
my $hub      = "host=$primary->{PGHOST} port=$primary->{PGPORT} user=node";
my $one      = $primary->standby(conf => [ "steadytext.hub_conninfo = '$hub'" ]);
my $two      = $primary->standby(conf => [ "steadytext.hub_conninfo = '$hub'" ]);
my $requests = sub { return join ' ', $primary->ask_daemon('stats') =~ /"(?:generate|embed|rerank)":\d+/g };
my $ask      = sub { my ($where, $query, $user) = @_; return $where->sql($query, user => $user // 'asker') };
my $generate = sub { my ($where, $prompt, $user) = @_; return $ask->($where, "SELECT steadytext_generate('$prompt')", $user) };
my $there    = sub { my ($where, $prompt) = @_; return $where->poll_until("SELECT count(*) FROM steadytext_cache WHERE prompt = '$prompt'", 1) };
my $set      = sub { my ($where, $line) = @_; $where->append_conf("steadytext.hub_conninfo = '$line'"); $where->reload };
my $view     = sub { my ($where, $column) = @_; return $where->sql("SELECT $column FROM pg_stat_steadytext_hub") };
for my $node ($one, $two) {
    ok($node->poll_until(q(SELECT count(*) FROM steadytext_daemons WHERE state = 'ready'), 1), 'a standby has its daemon');
    ok($node->catch_up($primary), 'and what its primary has done');
}

# ---- what is computed on one is a hit on the others -----------------------------------------------------------------------------------

my %calls = (
    'generated' => q(SELECT steadytext_generate('generated')),
    'embedded'  => q(SELECT vector_dims(steadytext_embed('embedded'))),
    'reranked'  => q(SELECT count(*) FROM steadytext_rerank('reranked', ARRAY['a', 'b'])),
    'yes'       => q(SELECT steadytext_generate_choice('yes', ARRAY['yes', 'no'])),
    'with "quotes" and é' => q(SELECT steadytext_generate('with "quotes" and é')),
);
for my $prompt (sort keys %calls) {
    my $began = time;
    $ask->($one, $calls{$prompt});
    ok($there->($two, $prompt), "$prompt: an answer of one standby reaches the other");
    diag sprintf '%s: %.0f ms', $prompt, (time - $began) * 1000 if $ENV{STEADYTEXT_FIGURES};
    my $before = $requests->();
    $ask->($_, $calls{$prompt}) for $two, $primary;
    is($requests->(), $before, 'and no daemon is asked again, there or on the primary');
}
is($view->($one, 'refused'), 0, 'nothing was refused');
is($view->($one, 'configured AND connected AND last_answer > now() - interval \'1 hour\' AND away_seconds IS NULL AND reason IS NULL'), 't', 'the view says how it goes');
cmp_ok($view->($one, 'sent'), '>=', 5, 'and how much');

# ---- counts ---------------------------------------------------------------------------------------------------------------------------

my $count = sub { my ($prompt, $expected) = @_; return $primary->poll_until("SELECT access_count FROM steadytext_cache WHERE prompt = '$prompt'", $expected) };
$generate->($one, 'counted');
ok($there->($two, 'counted'), 'an answer is everywhere');
$generate->($one, 'counted') for 1 .. 3;
$generate->($two, 'counted') for 1 .. 4;
$generate->($primary, 'counted') for 1 .. 2;
ok($count->('counted', 10), 'hits of all nodes add up') or diag $primary->sql(q(SELECT access_count FROM steadytext_cache WHERE prompt = 'counted'));
ok($primary->poll_until(q(SELECT sum(calls) FROM steadytext_usage WHERE role_name = 'asker'), 3 * keys(%calls) + 10), 'and so does usage')
    or diag $primary->sql(q(SELECT * FROM steadytext_usage));

# Audit rows.
my $suspicious = q(SELECT steadytext_generate('x', model => 'a'';DROP TABLE b--'));
$one->try_sql($suspicious, user => 'asker');
my $audited = q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'suspicious_input' AND details ->> 'value' LIKE '%DROP TABLE b%' AND user_id = );
ok($primary->poll_until("$audited 'asker'", 1), 'an audit row of a standby is in the log of the primary');
my $turned_away = $view->($one, 'refused');
$one->try_sql($suspicious, user => 'other');
ok($one->poll_until("SELECT refused > $turned_away FROM pg_stat_steadytext_hub", 't'), 'not of a role that is not allowed');
is($primary->sql("$audited 'other'"), 0, 'it is not written');

# The sessions of the nodes at the hub are stopped: the standby loses patience, and sends its batch again by another session. Both are carried out then.
my ($retries, $hits) = ($view->($one, 'retries'), 10);
for my $round (1 .. 10) {
    my @stopped;
    $generate->($one, "before they are stopped $round");
    $primary->wait_for(sub { @stopped = split /\n/, $primary->sql(q(SELECT pid FROM pg_stat_activity WHERE usename = 'node')) }, 10);
    kill 'STOP', @stopped;
    $generate->($one, 'counted') for 1 .. 3;
    $hits += 3;
    $generate->($one, "while they are stopped $round");
    my $is_again = $one->poll_until("SELECT retries > $retries FROM pg_stat_steadytext_hub", 't', 15);
    ok($there->($primary, "while they are stopped $round"), 'an answer comes by another session') if $is_again;
    kill 'CONT', @stopped;
    ok($primary->poll_until(sprintf('SELECT count(*) FROM pg_stat_activity WHERE pid IN (%s)', join ',', 0, @stopped), 0), 'the first ones go on, and end') if $is_again;
    last if $is_again;  # else they ended before they had something to do
}
cmp_ok($view->($one, 'retries'), '>', $retries, 'a batch was sent again');
$generate->($one, 'counted');
ok($count->('counted', $hits + 1), 'and hits are counted once');

# ---- clears ---------------------------------------------------------------------------------------------------------------------------

# What was asked before a clear does not come back: the answer waits on the standby while the primary clears.
$set->($one, "$hub port=1");
ok($one->poll_until(q(SELECT connected FROM pg_stat_steadytext_hub), 'f'), 'a standby has lost its hub');
is($generate->($one, 'of before the clear'), 'of before the clear', 'and goes on');
$primary->sql('SELECT steadytext_cache_clear()');
$one->catch_up($primary);
$set->($one, $hub);
$generate->($one, 'of after the clear');
ok($there->($primary, 'of after the clear'), 'what was asked after a clear comes');
is($primary->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'of before the clear')), 0, 'what was asked before it does not');

# The same while both happen at once: no row is older than a clear that was over before it was looked for.
my @askers = map { $_->session(user => 'asker') } $one, $two;
my (@older, $kept);
for my $round (1 .. 12) {
    my $prompt = 0;
    $_->hand_over(join ' ', map { sprintf q(SELECT steadytext_generate('round %d, asked %d');), $round, ++$prompt } 1 .. 20) for @askers;
    $one->sql('SELECT pg_wal_replay_pause()') if $round % 2;  # it does not hear of the clear in time
    my $began = $primary->sql('SELECT clock_timestamp(); SELECT steadytext_cache_clear()');
    $began =~ s/\n.*//s;
    $_->ask('SELECT 1;') for @askers;
    $one->sql('SELECT pg_wal_replay_resume()') if $round % 2;
    $_->catch_up($primary) for $one, $two;
    $generate->($_, "the end of round $round on $_->{PGPORT}") for $one, $two;
    $there->($primary, "the end of round $round on $_->{PGPORT}") for $one, $two;  # and so all before it
    my ($old, $new) = split /\|/, $primary->sql("SELECT count(*) FILTER (WHERE created_at < '$began'), count(*) FROM steadytext_cache");
    push @older, "round $round: $old" if $old;
    $kept += $new;
}
is("@older", '', 'answers on two standbys and clears on the primary, twelve times: nothing of before a clear is there');
cmp_ok($kept, '>=', 24, 'and what came after is');
$_->finish for @askers;

# ---- what a node may bring --------------------------------------------------------------------------------------------------------------

my $refused = $view->($one, 'refused');
$generate->($one, 'not for this node', 'other');
ok($one->poll_until("SELECT refused > $refused FROM pg_stat_steadytext_hub", 't'), 'the answer of a role that is not allowed is refused');
$generate->($one, 'the next one');
ok($there->($primary, 'the next one'), 'and holds up nothing');
is($primary->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'not for this node')), 0, 'it is not written');
$primary->sql(q(SELECT steadytext_hub_allow('node', 'other')));
$generate->($one, 'now for this node', 'other');
ok($there->($primary, 'now for this node'), 'once allowed it is');
$primary->sql(q(SELECT steadytext_hub_disallow('node', 'other')));
$refused = $view->($one, 'refused');
$generate->($one, 'for this node no more', 'other');
ok($one->poll_until("SELECT refused > $refused FROM pg_stat_steadytext_hub", 't'), 'and then no more');
like($primary->sql(q(SELECT DISTINCT role_name, bool_or(taken > 5 AND refused > 0) OVER () FROM steadytext_hub_nodes WHERE role_name = 'node')), qr/^node\|t$/, 'the hub knows its nodes');

# Node, granted role and forger call by hand.
my $put = sub { my ($user, $arguments, $where) = @_; return ($where // $primary)->try_sql("SELECT taken, refused FROM _steadytext.hub_put($arguments)", user => $user) };
is($put->('plain', q(1, 1, 1, 0, '{}'))->{state}, '42501', 'who is no node may bring nothing');
is($primary->try_sql(q(SELECT _steadytext.hub_take(1, 1, 1, 0, '{}', 10, '{0}')), user => 'node')->{state}, '42501', 'and a node cannot say for whom it may');
is($put->('node', q(2, 1, 1, 0, '{}'))->{state}, '0A000', 'another format is refused as a whole');
is($put->('node', q(1, 1, 1, 0, '{}'), $one)->{state}, '25006', 'a standby is no hub');
my $forged = q(ARRAY['\x', '\x43', '\x5500', '\x', decode(repeat('43', 5000), 'hex'), decode('55' || repeat('00', 300), 'hex'), NULL]::bytea[]);
is($put->('node', "1, 1, 1, 0, $forged")->{out}, '7|7', 'what is no record is refused');
is($put->('node', "1, 1, 1, 0, $forged")->{out}, '7|0', 'a batch that comes again is not taken again');
is($put->('node', q(1, 1, 2, 0, array_fill('\x43'::bytea, ARRAY[2049])))->{state}, '54000', 'a batch has bounds');
# Any bytes of the sizes that records have.
srand(271);
my $batch = 2;
my $any = sub { my ($size) = @_; return join '', map { sprintf '%02x', rand() < 0.5 ? 0 : 32 + int rand 95 } 1 .. $size };
for my $size (8, 100, 224, 1016) {
    my @records = map { "'\\x$_'::bytea" } map { my $kind = $_; map { $kind . $any->($size) } 1 .. 40 } qw(43 55 41);
    $batch++;
    like($put->('node', "1, 1, $batch, 0, ARRAY[" . join(', ', @records) . ']')->{out}, qr/^120\|120$/, "any $size bytes are refused");
}
$primary->sql(q(GRANT EXECUTE ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]) TO plain));
is($put->('plain', "1, 1, 1, 0, $forged")->{out}, '7|7', 'another role is another node');
$primary->sql(q(REVOKE EXECUTE ON FUNCTION _steadytext.hub_put(int, bigint, bigint, bigint, bytea[]) FROM plain));

# A role that is dropped and made anew is another role.
$primary->sql(q(SELECT steadytext_hub_allow('node', 'other'); DROP ROLE other; CREATE ROLE other LOGIN));
$one->catch_up($primary);
$refused = $view->($one, 'refused');
$generate->($one, 'of a namesake', 'other');
ok($one->poll_until("SELECT refused > $refused FROM pg_stat_steadytext_hub", 't'), 'what a role was allowed its namesake is not');

# ---- the setting ------------------------------------------------------------------------------------------------------------------------

is($one->try_sql('SHOW steadytext.hub_conninfo', user => 'plain')->{state}, '42501', 'the setting is for superusers');
for my $bad ("$hub password=secret", "$hub dbname=postgres", 'no connection string', 'postgres://node:secret@localhost', 'postgres:///?user=node', "$hub nonsense=1", "$hub user=''node") {
    my $result = $primary->try_sql("ALTER SYSTEM SET steadytext.hub_conninfo = '$bad'");
    is($result->{state}, '22023', "refused: $bad");
}
is($primary->sql(q(SELECT details ->> 'configured' FROM steadytext_health_check() WHERE component = 'hub')), 'no', 'the primary has no hub');
is($primary->sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext hub worker')), 0, 'and no hub worker');

# ---- the library with libpq -------------------------------------------------------------------------------------------------------------

# Only the hub worker loads it: in the postmaster the server's own walreceiver would get the libpq found there.
my $pkglibdir = $ENV{PG_CONFIG} ? `$ENV{PG_CONFIG} --pkglibdir` : $one->sql(q(SELECT setting FROM pg_config WHERE name = 'PKGLIBDIR'));
chomp $pkglibdir;
my $needed = `ldd $pkglibdir/pg_steadytext.so`;
like($needed, qr/libzmq/, 'ldd says what the preloaded library needs');
unlike($needed, qr/libpq/, 'which is not libpq');
like(scalar `ldd $pkglibdir/pg_steadytext_hub.so`, qr/libpq/, 'that is in another');
my ($postmaster) = split /\n/, do { local $/; open my $file, '<', $one->data_dir . '/postmaster.pid' or die; <$file> };
my $maps = do { local $/; open my $file, '<', "/proc/$postmaster/maps" or die; <$file> };
like($maps, qr/pg_steadytext\.so/, 'a server with hub workers has loaded the one');
unlike($maps, qr/libpq\.so|pg_steadytext_hub/, 'and not the other');

# Without it, and with another version's, the worker says so and tries again.
my $folder = $two->run_dir . '/libraries';
my $its    = "$folder/pg_steadytext_hub.so";
mkdir $folder or die "$folder: $!";
m{/pg_steadytext_hub\.so$} or symlink $_, $folder . s{.*/}{/}r or die "$_: $!" for glob "$pkglibdir/*.so";
$two->append_conf("dynamic_library_path = '$folder'");
$two->reload;
ok($two->poll_until('SHOW dynamic_library_path', $folder), 'a server without the file');
ok($two->wait_for(sub { return $two->worker_pid('hub worker') eq '' }, 30), 'the worker that has it leaves');
is($generate->($two, 'without the library'), 'without the library', 'calls go on');
ok($two->poll_until(q(SELECT reason FROM pg_stat_steadytext_hub), '58P01'), 'the view says what is missing');
is($two->sql(q(SELECT details ->> 'connected' FROM steadytext_health_check() WHERE component = 'hub')), 'no', 'and so does the health check');
like($two->log, qr/pg_steadytext hub worker cannot load its library\n.*DETAIL: .*pg_steadytext_hub/, 'and the log');
system("sed 's/ interface [0-9]/ interface x/' '$pkglibdir/pg_steadytext_hub.so' > '$its.new' && chmod 755 '$its.new' && mv '$its.new' '$its'") == 0 or die;
ok($two->poll_until(q(SELECT reason FROM pg_stat_steadytext_hub), '0A000', 40), 'one of another version is refused');
unlink $its;
symlink "$pkglibdir/pg_steadytext_hub.so", $its or die "$its: $!";
ok($two->poll_until(q(SELECT connected FROM pg_stat_steadytext_hub), 't', 40), 'the right one is taken by the next worker');
ok($there->($primary, 'without the library'), 'and nothing is lost');
is(() = $two->log =~ /cannot load its library/g, 1, 'the log has one line of it');

# ---- another database ---------------------------------------------------------------------------------------------------------------------

$primary->sql('CREATE DATABASE second');
$primary->sql(q(CREATE EXTENSION pg_steadytext CASCADE; SELECT steadytext_hub_allow('node')), database => 'second');
$one->catch_up($primary);
$generate->($two, 'of the first database');
my $second = sub { my ($where, $query, $user) = @_; return $where->try_sql($query, database => 'second', user => $user // 'postgres')->{out} };
is($second->($one, q(SELECT steadytext_generate('of the second database')), 'other'), 'of the second database', 'a role asks in another database');
ok($primary->wait_for(sub { return $second->($primary, 'SELECT prompt FROM steadytext_cache') eq 'of the second database' }), 'where the node may bring what is of any role');
is($one->sql(q(SELECT count(DISTINCT datname) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext hub worker' AND datname = 'second')), 1, 'by a worker of its own');
$primary->sql('DROP DATABASE second');
ok($one->catch_up($primary), 'which does not hold up the replay of DROP DATABASE');

# ---- without a hub ----------------------------------------------------------------------------------------------------------------------

# A hub that accepts and never answers.
my $mute = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', LocalPort => 0) or die "no socket: $!";
$set->($one, 'host=127.0.0.1 user=node port=' . $mute->sockport);
is($generate->($one, "while it is mute $_"), "while it is mute $_", 'a hub that is mute holds up no call') for 1 .. 3;
ok($one->wait_for(sub { return $one->worker_pid('hub worker') ne '' }, 10), 'its worker waits');
my $pid = $one->worker_pid('hub worker');
is($one->sql("SELECT pg_terminate_backend($pid)"), 't', 'and can be ended');
ok($one->wait_for(sub { return !kill(0, $pid) }, 10), 'at once');
$set->($one, $hub);
ok($there->($primary, "while it is mute $_"), 'what it had is not lost') for 1 .. 3;

# A hub that is gone for a while.
ok($primary->stop, 'the hub is gone');
my %asked;
for my $round (1 .. 3) {
    for my $node ($one, $two) {
        $asked{"round $round on $node->{PGPORT}"} = 1;
        is($generate->($node, "round $round on $node->{PGPORT}"), "round $round on $node->{PGPORT}", 'a standby goes on');
    }
}
ok($one->poll_until(q(SELECT away_seconds >= 0 AND reason ~ '^08' AND NOT connected FROM pg_stat_steadytext_hub), 't'), 'the view says that it is gone');
is($one->sql(q(SELECT details ->> 'connected' FROM steadytext_health_check() WHERE component = 'hub')), 'no', 'and so does the health check');
ok($primary->start, 'it is back');
for my $prompt (sort keys %asked) {
    ok($there->($_, $prompt), "$prompt: everywhere") for $primary, $one, $two;
}
ok($one->poll_until(q(SELECT away_seconds IS NULL FROM pg_stat_steadytext_hub), 't'), 'the view says that it is back');
my $log = $one->log;
is(() = $log =~ /hub of pg_steadytext does not answer/g, () = $log =~ /hub of pg_steadytext answers again/g, 'the log has each loss once');

# ---- a promotion ------------------------------------------------------------------------------------------------------------------------

$set->($one, "$hub port=1");
$generate->($one, 'before the promotion');
ok($one->promote, 'a standby is promoted, with an answer that no hub has');
is($generate->($one, 'after the promotion'), 'after the promotion', 'it goes on');
ok($there->($one, 'after the promotion'), 'and writes by itself');
is($one->sql(q(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_steadytext hub worker')), 0, 'without a hub worker');
unlike($_->log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed') for $primary, $one, $two;

done_testing;
