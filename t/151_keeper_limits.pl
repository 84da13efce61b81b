# What the keeper keeps: as many answers as the settings say, for as long as they say, and what the disk has room for.
use strict;
use warnings;
use SteadyText::Cluster;
use Test::More;

my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.on_failure = 'error'", 'steadytext.cache_max_entries = 50' ]);
my $requests = sub { my ($n) = $cluster->ask_daemon('stats') =~ /"generate":(\d+)/; return $n // 0 };
my $ask      = sub { my ($what, $count) = @_; return $cluster->sql("SELECT count(steadytext_generate('$what ' || i)) FROM generate_series(1, $count) i") };

# Nobody calls for eviction: the keeper looks by itself while writes come in.
$cluster->sql(q(SELECT steadytext_config_set('cache_eviction_enabled', 'false')));
is($ask->('kept', 200), 200, 'two hundred answers where fifty may be kept');
$cluster->sql('SELECT steadytext_frecency_refresh()');
is($cluster->sql('SELECT count(*) FROM steadytext_cache'), 200, 'all are kept while eviction is off');
$cluster->sql(q(SELECT steadytext_config_set('cache_eviction_enabled', 'true')));
$cluster->sql(q(SELECT steadytext_generate('favourite') FROM generate_series(1, 20)));
ok($cluster->poll_until('SELECT count(*) <= 50 FROM steadytext_cache', 't', 60), 'once it is on, the keeper evicts what is too much');
is($cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'favourite')), 1, 'but not what is asked for most');
cmp_ok($cluster->sql(q(SELECT count(*) FROM steadytext_audit_log WHERE event_type = 'cache_eviction')), '>=', 1, 'and says so in the audit log');

# An answer lives for cache_ttl, a tenth more or less, so that those made together do not all go together.
$cluster->append_conf('steadytext.cache_ttl = 100s', 'steadytext.cache_max_entries = 10000');
$cluster->reload;
$cluster->poll_until('SHOW steadytext.cache_ttl', '100s', 30);
$ask->('mortal', 200);
$cluster->sql('SELECT steadytext_frecency_refresh()');
my ($least, $most, $distinct) = split /\|/, $cluster->sql(q(
    SELECT min(lifetime), max(lifetime), count(DISTINCT round(lifetime))
    FROM (SELECT extract(epoch FROM expires_at - created_at) AS lifetime FROM steadytext_cache WHERE prompt LIKE 'mortal %') rows));
cmp_ok($least, '>=', 89, 'no answer goes much before its time');
cmp_ok($most, '<=', 111, 'none stays much after it');
cmp_ok($distinct, '>=', 10, 'and their ends lie apart');

$cluster->append_conf('steadytext.cache_ttl = 1s');
$cluster->reload;
$cluster->poll_until('SHOW steadytext.cache_ttl', '1s', 30);
$ask->('ephemeral', 20);
my $before = $requests->();
ok($cluster->wait_for(sub { $ask->('ephemeral', 20); $requests->() >= $before + 20 }, 30), 'an answer that has had its time is asked for again');
ok($cluster->wait_for(sub { $cluster->sql(q(SELECT steadytext_generate('time goes on ' || clock_timestamp())));
    $cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt LIKE 'ephemeral %')) == 0 }, 60), 'and its row goes');

# A disk that is really full.
SKIP: {
    my $place = $cluster->run_dir . '/small';
    mkdir $place;
    skip 'a small disk cannot be mounted here', 6 if $> != 0 || system("mount -t tmpfs -o size=1m,mode=0777 tmpfs $place 2> /dev/null") != 0;
    mkdir "$place/space";
    system('chown', 'postgres', "$place/space");
    chmod 0700, "$place/space";
    $cluster->append_conf('steadytext.cache_ttl = 0');
    $cluster->reload;
    $cluster->sql("CREATE TABLESPACE small LOCATION '$place/space'");
    $cluster->sql('TRUNCATE steadytext_cache; ALTER TABLE steadytext_cache SET TABLESPACE small');
    my $large = q(SELECT count(steadytext_generate(i || (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 60) j))) FROM generate_series(1, 1000) i);
    is($cluster->sql($large), 1000, 'two megabytes of answers while the disk has room for one');
    ok($cluster->wait_for(sub { $cluster->log =~ /No space left on device/ }, 60), 'the log says that the disk is full');
    is($cluster->sql(q(SELECT steadytext_generate('meanwhile'))), 'meanwhile', 'a call is answered');
    $before = $requests->();
    is($cluster->sql(q(SELECT steadytext_generate('meanwhile'))), 'meanwhile', 'again');
    is($requests->(), $before, 'from shared memory');
    system("mount -o remount,size=64m $place") == 0 or BAIL_OUT('could not enlarge the disk');
    ok($cluster->wait_for(sub { $cluster->sql(q(SELECT steadytext_generate('with room'))); $cluster->try_sql('SELECT steadytext_frecency_refresh()');
        $cluster->sql(q(SELECT count(*) FROM steadytext_cache WHERE prompt = 'with room')) == 1 }, 90), 'once it has room again, rows are written');
    $cluster->stop;
    system("umount $place");
}

done_testing;
