# The Grafana board: it has the form that Grafana publishes, and every panel's query has an answer in a real Prometheus that scrapes this
# server. So do service levels. The configuration for sql_exporter gives what rules and board ask for.
use strict;
use warnings;
use JSON::PP ();
use SteadyText::Cluster;
use SteadyText::Monitoring;
use Test::More;

my $root = $SteadyText::Cluster::ROOT;
sub slurp { my ($path) = @_; open my $file, '<', "$root/$path" or die "$path: $!"; local $/; return scalar <$file> }
my $board = JSON::PP::decode_json(slurp('monitoring/grafana/pg_steadytext.json'));

# ---- Grafana's own schema of boards, as its development kit for Go has it ----------------------------------------------------
SKIP: {
    my $source = "$root/t/tools/grafana_board";  # go.mod and go.sum pin the kit by version and hash
    my ($go) = grep { -x } map { "$_/go" } split(/:/, $ENV{PATH}), '/usr/local/go/bin';
    skip 'go is not installed', 1 unless $go;
    my $output;
    IPC::Run::run([ $go, 'mod', 'download' ], init => sub { chdir $source }, '<', \undef, '>&', \$output) or skip "Grafana's schema cannot be fetched: $output", 1;
    my $checker = "$root/build/grafana-board";
    ok(IPC::Run::run([ $go, 'build', '-o', $checker, '.' ], init => sub { chdir $source }, '<', \undef, '>&', \$output), 'a program that knows the schema')
        or diag $output;
    ok(IPC::Run::run([ $checker, "$root/monitoring/grafana/pg_steadytext.json" ], '<', \undef, '>&', \$output), 'the board has the form that Grafana publishes') or diag $output;

    # What the program would not let pass.
    my $panel = sub { my ($break) = @_; my $bad = JSON::PP::decode_json(slurp('monitoring/grafana/pg_steadytext.json')); $break->($bad->{panels}[6]); return $bad };
    my %bad = (
        'an unknown field'   => [ sub { $_[0]{options}{tooltips} = {} },         qr/panels\[6\].*unexpected field 'tooltips'/ ],
        'a missing one'      => [ sub { delete $_[0]{options}{legend}{calcs} },  qr/panels\[6\].options.legend.calcs: required field is missing/ ],
        'one of another type' => [ sub { $_[0]{gridPos}{w} = 'wide' },           qr/gridPos/ ],
        'an unknown query'   => [ sub { $_[0]{targets}[0]{expression} = 'up' }, qr/unexpected field 'expression'/ ]);
    for my $what (sort keys %bad) {
        my $file = File::Temp->new(SUFFIX => '.json');
        print {$file} JSON::PP->new->utf8->encode($panel->($bad{$what}[0]));
        $file->flush;
        ok(!IPC::Run::run([ $checker, "$file" ], '<', \undef, '>&', \$output), "not so with $what");
        like($output, $bad{$what}[1], '  which is named');
    }
}

# ---- structure: what the schema does not say -------------------------------------------------------------------------------
{
    like($board->{$_} // '', qr/\S/, "the board has its $_") for qw(title uid schemaVersion);
    my (%ids, @cells);
    for my $panel (@{ $board->{panels} }) {
        my $name = "panel $panel->{title}";
        my @wrong;
        push @wrong, 'id used twice' if $ids{ $panel->{id} }++;
        push @wrong, 'unknown type' unless $panel->{type} =~ /^(?:row|timeseries|stat)$/;
        my $at = $panel->{gridPos};
        push @wrong, 'beyond the grid' if grep { !defined $_ || /\D/ } @{$at}{qw(x y w h)} or $at->{x} + $at->{w} > 24;
        for my $y ($at->{y} .. $at->{y} + $at->{h} - 1) {
            for my $x ($at->{x} .. $at->{x} + $at->{w} - 1) { push @wrong, 'overlaps' if $cells[$y][$x]++ }
        }
        if ($panel->{type} ne 'row') {
            push @wrong, 'no data source' unless $panel->{datasource}{uid} eq '${datasource}';
            push @wrong, 'no unit' unless $panel->{fieldConfig}{defaults}{unit};
            my %refs;
            push @wrong, 'no targets' unless @{ $panel->{targets} };
            for my $target (@{ $panel->{targets} }) {
                push @wrong, 'refId' if $target->{refId} !~ /^[A-Z]$/ or $refs{ $target->{refId} }++;
                push @wrong, 'not of the chosen server' unless $target->{expr} =~ /instance=~"\$instance"/;
            }
        }
        is("@wrong", '', $name);
    }
    is_deeply([ map { $_->{name} } @{ $board->{templating}{list} } ], [qw(datasource instance)], 'variables');
    my %section = slurp('docs/runbooks.md') =~ /^## (\S+)\n(.*?)(?=^## |\z)/msg;
    my @links   = slurp('monitoring/grafana/pg_steadytext.json') =~ /runbooks\.md#([\w-]+)/g;
    is(join(' ', grep { !$section{$_} } @links), '', 'the board points to runbooks that are there');
    my %runbook = slurp('monitoring/prometheus/steadytext.rules.yml') =~ /- alert: (\w+)\n.*?runbook: docs\/runbooks\.md#([\w-]+)/sg;
    my @alerts  = slurp('monitoring/prometheus/steadytext.rules.yml') =~ /- alert: (\w+)/g;
    is(join(' ', grep { ($section{ $runbook{$_} // '' } // '') !~ /`$_`/ } @alerts), '', 'each alert has a runbook that names it');
}

my $listen  = '127.0.0.1:' . SteadyText::Monitoring::free_port();
my $cluster = SteadyText::Cluster->new(conf => [ "steadytext.metrics_listen = '$listen'" ]);
my %metrics = map { $_ => 1 } split /\n/, $cluster->sql('SELECT DISTINCT name FROM steadytext_metrics()');

# Every condition has a section, and the same name in the table and the metrics.
{
    my $text = slurp('docs/runbooks.md');
    for my $condition (split /\n/, $cluster->sql(q(SELECT DISTINCT labels ->> 'condition' FROM steadytext_metrics() WHERE labels ? 'condition'))) {
        (my $section = $condition) =~ tr/_/-/;
        like($text, qr/^## $section\n\n\*Incident `$condition`/m, "a runbook for $condition");
        like($text, qr/^\| `$condition` \|/m, 'a row of its table');
    }
}

# What the pages tell to ask is answered.
for my $page (qw(monitoring runbooks service-levels)) {
    my @blocks = slurp("docs/$page.md") =~ /^```sql\n(.*?)^```$/msg;
    my $answer = $cluster->try_sql(join "\n", @blocks);
    is($answer->{err}, '', "docs/$page.md: " . scalar(@blocks) . ' blocks of SQL work');
}

# ---- sql_exporter --------------------------------------------------------------------------------------------------------
# The program reads its configuration strictly: a field it does not know or one that is missing stops it, a column that is neither label
# nor value is an error of each scrape. So the file is read here, by the fields that its documentation names.
{
    my $file = slurp('monitoring/sql_exporter/sql_exporter.yml');
    my ($frame, @metrics) = split /^      - (?=metric_name)/m, $file;
    $frame =~ s/^#.*\n//mg;
    my %field = map { $_ => 1 } qw(global scrape_timeout scrape_timeout_offset min_interval max_connections max_idle_connections target data_source_name
        collectors collector_name metrics);
    is(join(' ', grep { !$field{$_} } $frame =~ /(?:^|[{,-]) *(\w+):(?= |$)/mg), '', 'sql_exporter: known fields around the metrics');
    my $text = $cluster->sql('SELECT steadytext_prometheus()');
    my %given;
    for my $metric (@metrics) {
        my %is = $metric =~ /^ *(\w+): (.*)$/mg;
        my $name = $is{metric_name};
        my ($family) = $name =~ /^(.*?)(?:_bucket|_sum|_count)?$/;
        my ($type)   = $text =~ /^# TYPE \Q$family\E (\w+)$/m;
        my ($query)  = $is{query} =~ /^"(.*)"$/;
        my @labels   = split /, /, ($is{key_labels} // '[]') =~ s/[][]//gr;
        my @wrong;
        push @wrong, "unknown field $_"    for grep { !/^(?:metric_name|type|help|key_labels|values|query)$/ } sort keys %is;
        push @wrong, 'given twice'         if $given{$name}++;
        push @wrong, 'not a metric'        unless $metrics{$name};
        push @wrong, "type $is{type}"      unless $is{type} eq (($type // '') eq 'gauge' ? 'gauge' : 'counter');
        push @wrong, 'no help'             unless $is{help} =~ /^"[^"]+\."$/;
        push @wrong, "values $is{values}"  unless $is{values} eq '[value]';
        push @wrong, 'no query'            unless $query;
        my @columns = map { (split /\|/)[0] } split /\n/, $cluster->sql("$query \\gdesc");
        push @wrong, "columns @columns"    unless "@columns" eq join(q( ), @labels, "value");
        push @wrong, 'no rows'             unless $cluster->sql("SELECT count(*) FROM ($query) q") > 0;
        push @wrong, 'labels do not tell rows apart'
            unless $cluster->sql("SELECT count(*) = count(DISTINCT (0" . join('', map { ", $_" } @labels) . ")) FROM ($query) q") eq 't';
        is("@wrong", '', "sql_exporter: $name");
    }
    my %asked = map { $_ => 1 } (slurp('monitoring/grafana/pg_steadytext.json') . slurp('monitoring/prometheus/steadytext.rules.yml')) =~ /(steadytext_\w+)/g;
    is(join(' ', grep { $metrics{$_} && !$given{$_} } sort keys %asked), '', 'sql_exporter: all that rules and board ask for');
}

# ---- with a real Prometheus ----------------------------------------------------------------------------------------------
SKIP: {
    skip 'prometheus is not installed', 1 unless SteadyText::Monitoring::available();
    my $monitoring = SteadyText::Monitoring->new;
    $monitoring->start_prometheus($listen);
    # Something of everything: hits, misses, failures, embeddings, limited calls.
    $cluster->sql(q(CREATE ROLE app LOGIN; SELECT steadytext_rate_limit_set('app', requests => 1, per => '1 day')));
    my $load = $cluster->session->send(q(SET client_min_messages = error; DO $$ BEGIN FOR i IN 1 .. 100000 LOOP
        PERFORM steadytext_generate('board ' || i % 500), steadytext_embed('board ' || i % 50);
        IF i % 20 = 0 THEN PERFORM steadytext_generate('!fault:error ' || i); END IF; PERFORM pg_sleep(0.002); END LOOP; END $$));
    my @panels = grep { $_->{type} ne 'row' } @{ $board->{panels} };
    for my $panel (@panels) {
        for my $target (@{ $panel->{targets} }) {
            (my $query = $target->{expr}) =~ s/\$instance/.*/g;
            $query =~ s/\$__rate_interval/15s/g;
            my @values;
            ok($cluster->wait_for(sub { @values = $monitoring->query($query); grep { /^[\d.e+-]+$/i } @values }, 60), "$panel->{title} $target->{refId}: $query");
        }
    }
    ok(($monitoring->query('steadytext:cached_response_seconds:mean < 0.1'))[0], 'service level: cached answers are quick');
    ok(defined(($monitoring->query('steadytext:real_answers:ratio < 0.995'))[0]), 'service level: with so many failures real answers are too few');
    is(($monitoring->query('steadytext:daemon_found:ratio'))[0], 1, 'service level: each probe found a daemon');

    # Every panel drawn from its live answers; with STEADYTEXT_DRAW_BOARD=docs/board.svg a picture of some minutes for the docs.
    my $file    = $ENV{STEADYTEXT_DRAW_BOARD} // $cluster->run_dir . '/board.svg';
    my $seconds = $ENV{STEADYTEXT_DRAW_BOARD} ? 180 : 30;
    my $begin   = time;
    $cluster->wait_for(sub { time - $begin > $seconds }, $seconds + 5) if $ENV{STEADYTEXT_DRAW_BOARD};
    is(system("$root/monitoring/grafana/draw-board $root/monitoring/grafana/pg_steadytext.json http://$monitoring->{prometheus} $seconds > $file"), 0, 'each panel is drawn');
    $cluster->sql(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%board%' AND pid <> pg_backend_pid()));
    $load->finish;
}

done_testing;
