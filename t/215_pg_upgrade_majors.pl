# pg_upgrade from each major version of PostgreSQL that can be had (scripts/fetch-postgres) to the next: everything of docs/upgrading.md's table
# arrives, nothing is computed anew, and the server goes on to work. The server at hand is none of them: its minor version may be newer than the
# next major's, and then pg_upgrade itself refuses.
use strict;
use warnings;
use IPC::Run ();
use SteadyText::Cluster;
use SteadyText::Kinds;
use SteadyText::Majors;
use SteadyText::Monitoring;
use Test::More;

my @majors = SteadyText::Majors::all();
for (@majors) {
    my $why = SteadyText::Majors::missing($_);
    plan skip_all => "PostgreSQL $_ cannot be had: $why" if defined $why;
}
my %bin;
for my $major (@majors) {
    my ($bin, $said) = SteadyText::Majors::install($major);
    ok($bin, "the extension is built for PostgreSQL $major") or diag($said), done_testing, exit 1;
    $bin{$major} = $bin;
}
sub as_server { my $output = ''; my $good = IPC::Run::run([ SteadyText::Cluster::as_server(), @_ ], '<', \undef, '>&', \$output); return ($good, $output) }

my $row      = '| pg_upgrade, ' . join(' to ', @majors) . ' |';
my $from     = shift @majors;
my $cluster  = SteadyText::Cluster->new(bin => $bin{$from});
my $database = $cluster->{PGDATABASE};
$cluster->sql('CREATE ROLE alice LOGIN');
ok(SteadyText::Kinds::make($cluster), 'a call is carried out');
my %expected = map { $_ => SteadyText::Kinds::look($cluster, $database, $_) } @SteadyText::Kinds::ALL;
isnt($expected{$_}, '', "$_: there is something to move") for @SteadyText::Kinds::ALL;

my %arrives = map { $_ => 'yes' } @SteadyText::Kinds::ALL, 'silent';
my $old     = $cluster;
for my $to (@majors) {
    my ($way, $bin) = ("$from to $to", $bin{$to});
    my $new = bless { %$cluster, PGPORT => SteadyText::Monitoring::free_port(), run => $cluster->run_dir . "/at$to", bin => $bin, daemons => {} }, 'SteadyText::Cluster';
    as_server('mkdir', $new->run_dir);
    # From 18 on a new server has checksums, unless told otherwise; both must agree in that.
    my @checksums = $to >= 18 ? '--no-data-checksums' : ();
    my ($good, $output) = as_server("$bin/initdb", '-D', $new->data_dir, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--locale=C.UTF-8', @checksums);
    ok($good, "$way: a new server") or diag $output;
    $new->append_conf("shared_preload_libraries = 'pg_steadytext'", "port = $new->{PGPORT}", "listen_addresses = ''",
        "unix_socket_directories = '$cluster->{PGHOST}'", 'fsync = off', 'steadytext.embedded_daemon = off', "steadytext.daemons = ''");
    $old->stop;
    ($good, $output) = as_server('sh', '-c', "cd " . $new->run_dir . " && $bin/pg_upgrade -b $old->{bin} -B $bin -d " . $old->data_dir . ' -D ' . $new->data_dir
        . " -p $old->{PGPORT} -P $new->{PGPORT} -U postgres -s $cluster->{PGHOST}");
    if (!ok($good, "$way: pg_upgrade")) {
        my ($log) = $output =~ /"(\S+\.log)"/;
        diag $output, $log ? `tail -n 40 $log` : '';
        last;
    }
    as_server('mkdir', $new->data_dir . '/pg_steadytext');
    as_server('cp', $old->data_dir . '/pg_steadytext/models.json', $new->data_dir . '/pg_steadytext/');
    ok($new->start, "$way: the new server starts") or diag $new->log;
    is($new->sql('SHOW server_version_num') =~ s/\d{4}$//r, $to, "$way: it is PostgreSQL $to");
    for (@SteadyText::Kinds::ALL) {
        is(SteadyText::Kinds::look($new, $database, $_), $expected{$_}, "$way: $_") or $arrives{$_} = 'other';
    }
    is($new->sql(q(SELECT count(*) FROM note WHERE answer LIKE '[steadytext%')), 0, "$way: no fallback is stored") or $arrives{silent} = 'other';
    is($new->sql(q(SELECT steadytext_generate('kept in the cache'))), 'kept in the cache', "$way: a cached answer answers, without a daemon");
    is($new->sql(q(SELECT string_agg(concat_ws(' ', check_name, status, details), '; ') FROM steadytext_selfcheck() WHERE status = 'fail')), '', "$way: the self check finds nothing wrong");

    # With a daemon it goes on: new rows are computed, calls of the queue carried out, calls are begun ahead.
    $new->append_conf("steadytext.daemons = '" . $cluster->echo_endpoint . "'");
    $new->reload;
    ok($new->poll_until(q(SELECT steadytext_generate('anew ' || random()) LIKE 'anew %')), "$way: a daemon answers");
    is($new->sql(q(BEGIN; INSERT INTO note VALUES (3, 'later') RETURNING answer; ROLLBACK)), 'later', "$way: a generated column");
    like($new->sql(q(EXPLAIN (COSTS off) SELECT steadytext_generate(prompt) FROM note)), qr/SteadyText Read Ahead/, "$way: read-ahead");
    my $call = $new->sql(q(SELECT steadytext_generate_async('asked again')), user => 'alice');
    ok($new->poll_until("SELECT status || result FROM steadytext_queue WHERE request_id = '$call'", 'completedasked again'), "$way: the queue goes on");
    $new->sql("DELETE FROM steadytext_queue WHERE request_id = '$call'");
    ($old, $from) = ($new, $to);
}
$old->stop;

$row .= " $arrives{$_} |" for @SteadyText::Kinds::ALL, 'silent';
open my $page, '<', "$SteadyText::Cluster::ROOT/docs/upgrading.md" or die $!;
my $text = do { local $/; <$page> };
ok(index($text, "$row\n") >= 0, 'docs/upgrading.md has this row') or diag $row;
done_testing;
